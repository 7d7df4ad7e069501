"""boto3's S3 client, with nothing said about a proxy. Arguments: endpoint, prefix of the keys, a file."""
import hashlib
import sys

import boto3
from botocore.config import Config

ENDPOINT, PREFIX, FILE = sys.argv[1:4]

client = boto3.client(
    "s3",
    endpoint_url=ENDPOINT,
    region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
)


def put(name, body, **options):
    key = PREFIX + "/" + name
    client.put_object(Bucket="bucket", Key=key, Body=body, **options)
    answer = client.get_object(Bucket="bucket", Key=key)
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    print(name, status, hashlib.sha256(answer["Body"].read()).hexdigest(), flush=True)


with open(FILE, "rb") as file:
    put("bytes", file.read())
with open(FILE, "rb") as file:
    put("chunked", file, ChecksumAlgorithm="SHA256")
