from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.tenancy import check_tenant, identity, uri_of
from serve_app.core.errors import SetupError

TENANTS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z") | st.just("")


@given(TENANTS, TENANTS, st.text(max_size=20).map(lambda name: f"file:///{name}"))
def test_an_identity_leads_back_to_its_uri_for_its_own_tenant_alone(tenant: str, other: str, uri: str) -> None:
    source = identity(tenant, uri)
    assert uri_of(tenant, source) == uri
    assert (uri_of(other, source) is None) == (other != tenant)


@pytest.mark.parametrize("name", ["a/b", "-a", ".a", "a b", "租户", "x" * 64])
def test_a_name_that_could_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(SetupError, match="--tenant"):
        check_tenant(name)
