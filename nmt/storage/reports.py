"""The reports of a run, one JSON object per line of `metrics.jsonl`."""

import json

from nmt.storage.atomic import JsonObject

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_reports(data: bytes) -> tuple[list[tuple[JsonObject, str]], int]:
    """Return the reports in the bytes of a metrics file, and the number of unreadable lines.

    A power failure may leave zeros or half a line anywhere. An incomplete last line, which a killed
    process leaves, is not counted.
    """
    reports: list[tuple[JsonObject, str]] = []
    unreadable = 0
    lines = data.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.strip(b"\0 \r\t").decode("utf-8")
            report = json.loads(line)
            is_report = isinstance(report, dict) and isinstance(report.get("step"), int)
        except (ValueError, RecursionError):
            is_report = False
        if is_report:
            reports.append((report, line))
        elif number < len(lines):
            unreadable += 1
    return reports, unreadable
