"""Where botocore finds ECR and STS in every region of every partition: JSON on stdout.

{partition: {"dnsSuffix", "dualStackDnsSuffix", "regionRegex",
             "regions": {region: {service: {"plain", "fips", "dualstack", "both": host}}}}}
A host is null where botocore's rules have none.
"""

import json
import sys

from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader

VARIANTS = {"plain": (False, False), "fips": (True, False), "dualstack": (False, True), "both": (True, True)}

loader = create_loader()
partitions = loader.load_data("partitions")
providers = {
    service: EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), partitions)
    for service in ("ecr", "sts")
}


def host(service, region, variant):
    fips, dualstack = VARIANTS[variant]
    values = {"Region": region, "UseFIPS": fips, "UseDualStack": dualstack}
    if service == "sts":
        values["UseGlobalEndpoint"] = False
    try:
        return providers[service].resolve_endpoint(**values).url.removeprefix("https://")
    except BotoCoreError:
        return None


def hosts(region):
    return {service: {variant: host(service, region, variant) for variant in VARIANTS} for service in providers}


answer = {}
for partition in partitions["partitions"]:
    outputs = partition["outputs"]
    regions = [region for region in sorted(partition["regions"]) if not region.endswith("-global")]
    answer[partition["id"]] = {
        "dnsSuffix": outputs["dnsSuffix"],
        "dualStackDnsSuffix": outputs["dualStackDnsSuffix"],
        "regionRegex": partition["regionRegex"],
        "regions": {region: hosts(region) for region in regions},
    }
json.dump(answer, sys.stdout, indent=1)
