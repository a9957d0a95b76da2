"""Converts one clip to a small MP4 with ffmpeg.

Payload: {"customer": …, "input": path, "output": path}.  What the function returns is the run's output.  The result gets
its name only when it is whole, so that an attempt that is tried again never leaves half a file.
"""

import os
import subprocess

import sluice


def convert(clip):
    name = os.path.basename(clip["input"])
    sluice.log("converting", clip=name, attempt=sluice.context.attempt)
    part = f"{clip['output']}.attempt-{sluice.context.attempt}.part"
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "warning", "-y", "-i", clip["input"],
         "-vf", "scale=160:-2", "-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac", "-threads", "1", "-f", "mp4", part],
        check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ffmpeg could not convert {name}")
    os.replace(part, clip["output"])
    return {"output": clip["output"], "bytes": os.path.getsize(clip["output"])}
