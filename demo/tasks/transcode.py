#!/usr/bin/python3
"""Converts one clip to a small MP4 with ffmpeg.

Payload on stdin: {"customer": …, "input": path, "output": path}.  The last line on stdout is the run's output.  The
result gets its name only when it is whole, so that an attempt that is tried again never leaves half a file.
"""

import json
import os
import subprocess
import sys

job = json.load(sys.stdin)
part = f"{job['output']}.attempt-{os.environ['SLUICE_ATTEMPT']}.part"

done = subprocess.run(
    ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "warning", "-y", "-i", job["input"],
     "-vf", "scale=160:-2", "-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac", "-threads", "1", "-f", "mp4", part],
    check=False)
if done.returncode != 0:
    print(f"ffmpeg could not convert {os.path.basename(job['input'])}", file=sys.stderr)
    sys.exit(done.returncode)

os.replace(part, job["output"])
print(json.dumps({"output": job["output"], "bytes": os.path.getsize(job["output"])}))
