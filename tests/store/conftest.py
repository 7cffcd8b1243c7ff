import uuid

import boto3
import pytest
from moto.server import ThreadedMotoServer

from landweave.store.objects import Target


@pytest.fixture(scope="session")
def s3_endpoint():
    """An S3 on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_options(s3_endpoint):
    return {
        "endpoint": s3_endpoint,
        "region": "us-east-1",
        "access_key_id": "testing",
        "secret_access_key": "hidden-word",
    }


@pytest.fixture
def s3_target(s3_options):
    """A fresh prefix in a bucket."""
    client = boto3.client(
        "s3",
        endpoint_url=s3_options["endpoint"],
        region_name=s3_options["region"],
        aws_access_key_id=s3_options["access_key_id"],
        aws_secret_access_key=s3_options["secret_access_key"],
    )
    client.create_bucket(Bucket="maps")
    return Target.parse(f"s3://maps/{uuid.uuid4().hex}.zarr", s3_options)


@pytest.fixture
def target(tmp_path):
    """A place on disk."""
    return Target.parse(tmp_path / "map.zarr")


@pytest.fixture(params=["local", "s3"])
def any_target(request):
    """A place on disk, then one in S3."""
    return request.getfixturevalue({"local": "target", "s3": "s3_target"}[request.param])
