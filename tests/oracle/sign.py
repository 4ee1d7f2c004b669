"""Signs a request as botocore does: JSON on stdin, the headers it would send as JSON on stdout."""

import datetime
import json
import sys
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

call = json.load(sys.stdin)
credentials = Credentials(call["id"], call["secret"], call.get("token"))
request = AWSRequest(call["method"], call["url"], headers=call["headers"], data=call["body"])
now = datetime.datetime.strptime(call["time"], "%Y%m%dT%H%M%SZ")
with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: now):
    botocore.auth.SigV4Auth(credentials, call["service"], call["region"]).add_auth(request)
json.dump(dict(request.headers.items()), sys.stdout)
