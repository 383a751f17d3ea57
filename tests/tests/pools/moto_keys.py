"""An account at a moto that checks signatures: the first four actions need none, and make it.
With `open` it checks none any more."""

import json
import sys
import urllib.request

import boto3

URL = sys.argv[1]
REGION = "eu-central-1"


def client(name):
    return boto3.client(name, region_name=REGION, endpoint_url=URL,
                        aws_access_key_id="none", aws_secret_access_key="none")


def queue(path, results):
    body = json.dumps({"region": REGION, "results": results}).encode()
    request = urllib.request.Request(f"{URL}/moto-api/static/sagemaker/{path}", data=body,
                                     headers={"content-type": "application/json"})
    urllib.request.urlopen(request).read()


if sys.argv[2:] == ["open"]:
    request = urllib.request.Request(f"{URL}/moto-api/reset-auth", data=b"1000000",
                                     headers={"content-type": "text/plain"})
    print(urllib.request.urlopen(request).read().decode())
    sys.exit()

iam = client("iam")
iam.create_user(UserName="station")
key = iam.create_access_key(UserName="station")["AccessKey"]
every = {"Effect": "Allow", "Action": "*", "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [every]})
iam.put_user_policy(UserName="station", PolicyName="all", PolicyDocument=policy)
client("s3").create_bucket(Bucket="questions",
                           CreateBucketConfiguration={"LocationConstraint": REGION})
output = {"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [3.0, -4.0]}
answer = json.dumps({"model_name": "twice", "model_version": "1", "outputs": [output]})
queue("endpoint-results", [{"Body": answer, "ContentType": "application/json"}])
queue("async-endpoint-results", [{"data": answer}, {"is_failure": True, "data": "out of memory"}])
print(json.dumps({"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}))
