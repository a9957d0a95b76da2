#!/usr/bin/env bash
# META.json keeps the rules of the PGXN Meta Spec, version 1, and the files that it names exist.
set -euo pipefail

jq -r '
    def semver: type == "string" and test("^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-?[A-Za-z][0-9A-Za-z-]*)?$");
    def text: type == "string" and length > 0;
    def term: text and length >= 2 and (test("[[:space:]/\\\\[:cntrl:]]") | not);
    def rule(holds; words): if holds then empty else words end;
    def known: ["abstract", "description", "generated_by", "license", "maintainer", "meta-spec", "name", "no_index",
                "prereqs", "provides", "release_status", "resources", "tags", "version"];

    rule(.name | term; "name is not a term"),
    rule(.version | semver; "version is not a semantic version"),
    rule(.abstract | text; "abstract is missing"),
    rule(.maintainer | text or (type == "array" and length > 0 and all(text)); "maintainer is missing"),
    rule([.license] | flatten | inside(["agpl_3", "apache_2_0", "bsd", "gpl_2", "gpl_3", "lgpl_2_1", "lgpl_3_0", "mit",
        "mozilla_1_0", "open_source", "postgresql", "unrestricted", "restricted", "unknown"]); "license is not known"),
    rule(."meta-spec".version == "1.0.0"; "meta-spec.version is not 1.0.0"),
    rule(.release_status == null or (.release_status | IN("stable", "testing", "unstable")); "release_status is not known"),
    rule(.provides | type == "object" and length > 0; "provides is empty"),
    (.provides | to_entries[] | rule((.key | term) and (.value.file | text) and (.value.version | semver);
        "provides.\(.key) needs file and a semantic version")),
    (.prereqs // {} | to_entries[]
        | rule(.key | IN("configure", "build", "test", "runtime", "develop"); "prereqs.\(.key) is not a phase"),
          (.value | to_entries[]
              | rule(.key | IN("requires", "recommends", "suggests", "conflicts"); "\(.key) is not a relationship"),
                (.value | to_entries[] | rule(.value == 0 or (.value | text); "\(.key) has no version range")))),
    rule(.tags == null or (.tags | type == "array" and length > 0 and all(text and length <= 255)); "tags are not valid"),
    (keys - known | .[] | select(startswith("x_") or startswith("X_") | not) | "unknown field \(.)")
' META.json | grep . && exit 1

jq -r '.provides[] | .file, .docfile // empty' META.json | while read -r file; do
    [ -f "$file" ] || { echo "META.json names $file, which does not exist"; exit 1; }
done
