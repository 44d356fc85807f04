"""Configurations of evaluations.nix: those that must be refused, with the words that name the option, and the example."""

import json
import platform

PREFIX = f".#legacyPackages.{platform.machine()}-linux.evaluations"


def check(nix):
    """`nix(*words)` runs the nix program on the flake and gives status and output. How many, and what is wrong."""
    listed = nix("eval", "--json", f"{PREFIX}.refusals", "--apply", "builtins.mapAttrs (_: r: r.message)")
    if listed.returncode != 0:
        return 0, [listed.stderr]
    faults = []
    refusals = json.loads(listed.stdout)
    for name, message in refusals.items():
        done = nix("build", "--no-link", "--print-build-logs", f"{PREFIX}.refusals.{name}.wrong")
        if done.returncode == 0:
            faults.append(f"{name} was not refused")
        elif message not in done.stderr:
            faults.append(f"{name}: nobody said `{message}`, but:\n{done.stderr}")
    return len(refusals), faults + undocumented(nix) + example(nix)


def undocumented(nix):
    listed = nix("eval", "--json", f"{PREFIX}.undocumented")
    if listed.returncode != 0:
        return [listed.stderr]
    return [f"{name} has no description or no example" for name in json.loads(listed.stdout)]


def example(nix):
    accepted = json.loads(nix("eval", "--json", f"{PREFIX}.accepted", "--apply", "builtins.attrNames").stdout)
    for name in [*(f"accepted.{name}" for name in accepted), "example.configuration"]:
        built = nix("build", "--no-link", "--print-build-logs", f"{PREFIX}.{name}")
        if built.returncode != 0:
            return [f"{name}: {built.stderr}"]
    facts = json.loads(nix("eval", "--json", f"{PREFIX}.example.facts").stdout)
    acme = {"acme-mx.example.com.service", "acme-example.org.service"}
    key = "example.org.key:/var/lib/acme/example.org/key.pem"
    expectations = {
        "waits for its certificates": acme <= set(facts["after"]) and acme <= set(facts["wants"]),
        "gets its keys as credentials": key in facts["credentials"],
        "opens its ports": {25, 465, 587} <= set(facts["ports"]),
        "asks saslauthd, which nobody else can": (
            {"saslauthd.service"} <= set(facts["after"])
            and facts["groups"] == ["saslauthd"] == [facts["saslauthd"]["Group"]]
            and facts["saslauthd"]["RuntimeDirectoryMode"] == "0750"
            and facts["pam"]
        ),
        "restarts after a renewal": all("try-restart vsmtp.service" in run for run in facts["renewals"].values()),
    }
    return [f"the example: it is not so that it {what}: {facts}" for what, so in expectations.items() if not so]
