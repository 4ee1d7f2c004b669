"""Signs requests as botocore does: a call or a list of them as JSON on stdin, on stdout the headers it would send."""

import datetime
import json
import sys
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def sign(call):
    credentials = Credentials(call["id"], call["secret"], call.get("token"))
    body = call["body"].encode()
    request = AWSRequest(call["method"], call["url"], headers=call["headers"], data=body)
    now = datetime.datetime.strptime(call["time"], "%Y%m%dT%H%M%SZ")
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: now):
        botocore.auth.SigV4Auth(credentials, call["service"], call["region"]).add_auth(request)
    return dict(request.headers.items())


given = json.load(sys.stdin)
json.dump([sign(call) for call in given] if isinstance(given, list) else sign(given), sys.stdout)
