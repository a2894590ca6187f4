"""Ray reads how it is to authenticate when it is imported: with the token that the cluster under test will leave."""

import os

os.environ.setdefault("RAY_AUTH_MODE", "token")
