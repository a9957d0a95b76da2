// Text on its way to jsonb.
#include "json_text.hpp"

#include <gtest/gtest.h>

namespace sluice::sidecar {
namespace {

using namespace std::string_literals;

constexpr const char *bad = "\xEF\xBF\xBD";

TEST(SidecarJsonText, bytes_become_utf8_without_nul)
{
    struct Case {
        const char *what;
        std::string bytes;
        std::string expected;
    };
    const Case cases[] = {
        {"plain text stays", "abc äö€😀", "abc äö€😀"},
        {"NUL is replaced", "a\0b"s, "a"s + bad + "b"},
        {"a lone continuation byte", "a\x80z", "a"s + bad + "z"},
        {"a sequence cut short", "a\xE2\x82", "a"s + bad + bad},
        {"an overlong slash", "\xC0\xAF", ""s + bad + bad},
        {"a surrogate in UTF-8", "\xED\xA0\x80", ""s + bad + bad + bad},
        {"beyond the last code point", "\xF4\x90\x80\x80", ""s + bad + bad + bad + bad},
        {"Latin-1 in between", "caf\xE9!", "caf"s + bad + "!"},
    };
    for (const Case &c : cases)
        EXPECT_EQ(clean_text(c.bytes), c.expected) << c.what;
}

TEST(SidecarJsonText, quoting)
{
    EXPECT_EQ(json_quote("a\"b\\c\n\t\x01/"), R"("a\"b\\c\n\t\u0001/")");
    EXPECT_EQ(json_quote(""), "\"\"");
}

TEST(SidecarJsonText, json_keeps_its_digits_and_loses_its_nul)
{
    struct Case {
        const char                *what;
        std::string                text;
        std::optional<std::string> expected;
    };
    const Case cases[] = {
        {"digits that a double cannot hold", "[1.000000000000000000001, 123456789012345678901234567890]",
         "[1.000000000000000000001, 123456789012345678901234567890]"},
        {"an escaped NUL", R"({"a":"x\u0000y"})", R"({"a":"x\ufffdy"})"},
        {"an escaped backslash before u0000", R"("\\u0000")", R"("\\u0000")"},
        {"a NUL in a key", R"({"\u0000":1})", R"({"\ufffd":1})"},
        {"a scalar", "42", "42"},
        {"a lone surrogate escape is not text", R"("\ud800")", std::nullopt},
        {"a pair of them is", R"("\ud83d\ude00")", R"("\ud83d\ude00")"},
        {"a number beyond numeric", "1e999999", std::nullopt},
        {"digits in a string are no number", R"("1e999999")", R"("1e999999")"},
        {"two values are not one", "{} {}", std::nullopt},
        {"plain words", "hello", std::nullopt},
        {"nothing", "", std::nullopt},
        {"nested beyond reason", std::string(5000, '['), std::nullopt},
    };
    for (const Case &c : cases)
        EXPECT_EQ(json_for_database(c.text), c.expected) << c.what;
}

TEST(SidecarJsonText, array_literals)
{
    EXPECT_EQ(array_literal({}), "{}");
    EXPECT_EQ(array_literal({"a", "b,c", R"(d"e\f)", ""}), R"({"a","b,c","d\"e\\f",""})");
}

} // namespace
} // namespace sluice::sidecar
