from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from canfar_spawner.core.errors import Invalid, NotAllowed
from canfar_spawner.core.images import ImagePolicy, ImageRef, ImageSource
from tests.core import image_oracle
from tests.core.image_oracle import Parts

SHA = "sha256:" + "0123456789abcdef" * 4
IN_CANFAR = "images.canfar.net"

ACCEPTED = {
    "images.canfar.net/skaha/astroml:26.11": Parts(IN_CANFAR, "skaha", "astroml", "26.11"),
    "images.canfar.net/skaha/astroml": Parts(IN_CANFAR, "skaha", "astroml"),
    f"images.canfar.net/skaha/astroml@{SHA}": Parts(IN_CANFAR, "skaha", "astroml", None, SHA),
    f"images.canfar.net/skaha/astroml:1@{SHA}": Parts(IN_CANFAR, "skaha", "astroml", "1", SHA),
    "images.canfar.net/skaha/a/b/c:x": Parts(IN_CANFAR, "skaha", "a/b/c", "x"),
    "images.canfar.net:443/skaha/x:1": Parts("images.canfar.net:443", "skaha", "x", "1"),
    "localhost/skaha/x": Parts("localhost", "skaha", "x"),
    "localhost:5000/skaha/x": Parts("localhost:5000", "skaha", "x"),
    "registry:5000/skaha/x": Parts("registry:5000", "skaha", "x"),
    "registry:65535/skaha/x": Parts("registry:65535", "skaha", "x"),
    "registry:1/skaha/x": Parts("registry:1", "skaha", "x"),
    "127.0.0.1/skaha/x": Parts("127.0.0.1", "skaha", "x"),
    "127.0.0.1:5000/skaha/x:y": Parts("127.0.0.1:5000", "skaha", "x", "y"),
    "docker.io/library/alpine:3": Parts("docker.io", "library", "alpine", "3"),
    "ghcr.io/a/b:sha-1": Parts("ghcr.io", "a", "b", "sha-1"),
    "a-b.c--d.org/p/x": Parts("a-b.c--d.org", "p", "x"),
    "1.2/3/4:5": Parts("1.2", "3", "4", "5"),
    "images.canfar.net/my_project/x": Parts(IN_CANFAR, "my_project", "x"),
    "images.canfar.net/my__project/x": Parts(IN_CANFAR, "my__project", "x"),
    "images.canfar.net/my---project/x": Parts(IN_CANFAR, "my---project", "x"),
    "images.canfar.net/my.project/x": Parts(IN_CANFAR, "my.project", "x"),
    "images.canfar.net/skaha/x:_": Parts(IN_CANFAR, "skaha", "x", "_"),
    "images.canfar.net/skaha/x:A.b-C_d": Parts(IN_CANFAR, "skaha", "x", "A.b-C_d"),
    "images.canfar.net/skaha/x:..x"[:-3] + "0..": Parts(IN_CANFAR, "skaha", "x", "0.."),
    "images.canfar.net/skaha/x:" + "t" * 128: Parts(IN_CANFAR, "skaha", "x", "t" * 128),
    # A look-alike is a well-formed reference to somewhere else: the policy's business.
    "images.canfar.net.evil.org/skaha/x:1": Parts("images.canfar.net.evil.org", "skaha", "x", "1"),
    "images-canfar.net/skaha/x:1": Parts("images-canfar.net", "skaha", "x", "1"),
    "evil.org/images.canfar.net/skaha:1": Parts("evil.org", IN_CANFAR, "skaha", "1"),
    "xn--mages-7va.canfar.net/skaha/x": Parts("xn--mages-7va.canfar.net", "skaha", "x"),
    "images.canfar.net:80/skaha/x": Parts("images.canfar.net:80", "skaha", "x"),
    "a.b/" + "p" * 125 + "/" + "r" * 125: Parts("a.b", "p" * 125, "r" * 125),
    # Every part as long as it may be.
    "a.b/" + "p" * 125 + "/" + "r" * 125 + ":" + "t" * 128 + "@" + SHA: Parts(
        "a.b", "p" * 125, "r" * 125, "t" * 128, SHA
    ),
}

REFUSED = [
    # no registry, or what some tools would take for docker.io
    "",
    "alpine",
    "alpine:3",
    "library/alpine",
    "library/alpine:3",
    "skaha/astroml:26.11",
    "skaha/sub/astroml:26.11",
    "images/skaha/x:1",
    "LOCALHOST/skaha/x",
    f"alpine@{SHA}",
    SHA,
    "0123456789abcdef" * 4,
    # no project
    "images.canfar.net",
    "images.canfar.net/",
    "images.canfar.net/x",
    "images.canfar.net/x:1",
    "images.canfar.net//x:1",
    "images.canfar.net/skaha/",
    "images.canfar.net/skaha/:1",
    "images.canfar.net/skaha//x:1",
    "/skaha/x:1",
    "//images.canfar.net/skaha/x:1",
    # schemes, users, queries
    "https://images.canfar.net/skaha/x:1",
    "http://images.canfar.net/skaha/x",
    "docker://images.canfar.net/skaha/x:1",
    "oci:images.canfar.net/skaha/x:1",
    "user@images.canfar.net/skaha/x:1",
    "user:pass@images.canfar.net/skaha/x:1",
    "images.canfar.net@evil.org/skaha/x:1",
    "images.canfar.net/skaha@evil.org/x:1",
    "images.canfar.net/skaha/x:1@evil.org",
    "images.canfar.net/skaha/x:1?y=1",
    "images.canfar.net/skaha/x:1#y",
    "images.canfar.net/skaha/x%2fy:1",
    "images.canfar.net%2eevil.org/skaha/x:1",
    "images.canfar.net\\@evil.org/skaha/x:1",
    # ports
    "images.canfar.net:/skaha/x:1",
    "images.canfar.net:0/skaha/x:1",
    "images.canfar.net:00000/skaha/x:1",
    "images.canfar.net:65536/skaha/x:1",
    "images.canfar.net:99999/skaha/x:1",
    "images.canfar.net:123456/skaha/x:1",
    "images.canfar.net:-1/skaha/x:1",
    "images.canfar.net:44a/skaha/x:1",
    "images.canfar.net:443:443/skaha/x:1",
    "images.canfar.net:٤٤٣/skaha/x:1",
    ":443/skaha/x:1",
    "[::1]/skaha/x:1",
    "[::1]:5000/skaha/x:1",
    # hosts
    ".images.canfar.net/skaha/x:1",
    "images..canfar.net/skaha/x:1",
    "images.canfar.net./skaha/x:1",
    "-images.canfar.net/skaha/x:1",
    "images-.canfar.net/skaha/x:1",
    "images.-canfar.net/skaha/x:1",
    "images.canfar.net-/skaha/x:1",
    "images_canfar.net/skaha/x:1",
    "images.canfar_net/skaha/x:1",
    "./skaha/x:1",
    "../skaha/x:1",
    "..:80/skaha/x:1",
    # upper case
    "Images.canfar.net/skaha/x:1",
    "IMAGES.CANFAR.NET/skaha/x:1",
    "images.canfar.net/Skaha/x:1",
    "images.canfar.net/skaha/X:1",
    f"images.canfar.net/skaha/x@{SHA.upper()}",
    # letters and dots that only look right
    "images\u3002canfar.net/skaha/x:1",
    "images\uff0ecanfar\uff0enet/skaha/x:1",
    "images.canfar\u2024net/skaha/x:1",
    "im\u0430ges.canfar.net/skaha/x:1",
    "images.canfar.net\uff0fskaha/x:1",
    "images.canfar.net/skaha\u2044x:1",
    "images.canfar.net/skaha/x\uff1a1",
    "images.canfar.net/skaha/x\u200b:1",
    "images.canfar.net/skaha/\uff58:1",
    "images.canfar.net/skaha/x:1\u202e",
    "images.canfar.net/skaha/é:1",
    "images.canfar.net/skaha/x:é",
    # white space and control characters
    " images.canfar.net/skaha/x:1",
    "images.canfar.net/skaha/x:1 ",
    "images.canfar.net/skaha/x :1",
    "images.canfar.net/skaha/x:1\n",
    "images.canfar.net/skaha/x\n:1",
    "images.canfar.net\n/skaha/x:1",
    "\nimages.canfar.net/skaha/x:1",
    "images.canfar.net/skaha/x:1\r\n- evil",
    "images.canfar.net/skaha/x:1\0",
    "images.canfar.net/skaha/x\t:1",
    "images.canfar.net/skaha/x:1\x1b[0m",
    # paths
    "images.canfar.net/../skaha/x:1",
    "images.canfar.net/skaha/../evil/x:1",
    "images.canfar.net/skaha/x:1/../../evil/x",
    "images.canfar.net/skaha/x/..:1",
    "images.canfar.net/skaha/./x:1",
    "images.canfar.net/./skaha/x:1",
    "images.canfar.net/skaha/.x:1",
    "images.canfar.net/skaha/x.:1",
    "images.canfar.net/skaha/-x:1",
    "images.canfar.net/skaha/x-:1",
    "images.canfar.net/skaha/_x:1",
    "images.canfar.net/skaha/x_:1",
    "images.canfar.net/skaha/x..y:1",
    "images.canfar.net/skaha/x___y:1",
    "images.canfar.net/skaha/x.-y:1",
    "images.canfar.net/skaha/x._y:1",
    "images.canfar.net/skaha/x-_y:1",
    "images.canfar.net/_/x:1",
    "images.canfar.net/skaha\\x:1",
    "images.canfar.net/skaha/x+y:1",
    "images.canfar.net/skaha/x$(id):1",
    "images.canfar.net/skaha/{user}:1",
    "images.canfar.net/skaha/{username}",
    "images.canfar.net/skaha/*:1",
    "images.canfar.net/*/x:1",
    "*.canfar.net/skaha/x:1",
    # tags
    "images.canfar.net/skaha/x:",
    "images.canfar.net/skaha/x:.1",
    "images.canfar.net/skaha/x:-1",
    "images.canfar.net/skaha/x:1:2",
    "images.canfar.net/skaha/x:1/y",
    "images.canfar.net/skaha:1/x",
    "images.canfar.net/skaha/x:1+2",
    "images.canfar.net/skaha/x:{user}",
    "images.canfar.net/skaha/x:$TAG",
    "images.canfar.net/skaha/x:" + "t" * 129,
    # digests
    "images.canfar.net/skaha/x@",
    "images.canfar.net/skaha/x@sha256:",
    f"images.canfar.net/skaha/x@{SHA[:-1]}",
    f"images.canfar.net/skaha/x@{SHA}0",
    f"images.canfar.net/skaha/x@{SHA[:-1]}g",
    f"images.canfar.net/skaha/x@{SHA}\n",
    f"images.canfar.net/skaha/x@{SHA}:1",
    f"images.canfar.net/skaha/x@{SHA}@{SHA}",
    f"images.canfar.net/skaha/x:@{SHA}",
    f"images.canfar.net/skaha/x@sha512:{'0' * 128}",
    f"images.canfar.net/skaha/x@md5:{'0' * 32}",
    f"@{SHA}",
    # length
    "images.canfar.net/skaha/" + "x" * 300,
    "a.b/" + "p" * 125 + "/" + "r" * 126,
    "a." * 150 + "b/skaha/x",
    "images.canfar.net" + "/x" * 200,
    "images.canfar.net/skaha/x:1" + " " * 10_000,
]


def parts(image: ImageRef) -> Parts:
    return Parts(image.registry, image.project, image.repository, image.tag, image.digest)


def test_there_are_enough_cases() -> None:
    assert len(set(REFUSED)) == len(REFUSED)
    assert len(ACCEPTED) + len(REFUSED) >= 120


@pytest.mark.parametrize(("text", "expected"), ACCEPTED.items(), ids=lambda case: repr(case)[:60])
def test_reads(text: str, expected: Parts) -> None:
    image = ImageRef.parse(text)
    assert parts(image) == expected == image_oracle.read(text)
    assert str(image) == text


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text)[:60])
def test_refuses(text: str) -> None:
    assert image_oracle.read(text) is None
    with pytest.raises(Invalid) as caught:
        ImageRef.parse(text)
    refusal = caught.value
    assert (refusal.code, refusal.field) == ("invalid", "image")
    assert "registry/project/name:tag" in refusal.sentence
    assert refusal.sentence.isprintable()
    assert len(refusal.sentence) <= 400


def test_names_the_field_asked_for() -> None:
    with pytest.raises(Invalid) as caught:
        ImageRef.parse("alpine", field="alias")
    assert caught.value.field == "alias"


# A grammar that is right most of the time, and wrong in one place otherwise.
_HOSTS = st.sampled_from(
    ["images.canfar.net", "localhost", "a-b.c", "1.1", "registry", "images.canfar.net.evil.org"]
) | st.text("aA0.-_:\u3002", max_size=6)
_PORTS = st.sampled_from(["", "", ":5000", ":0", ":65535", ":65536", ":", ":x", ":443\n"])
_COMPONENTS = st.sampled_from(["skaha", "a.b", "a__b", "a---b", "x"]) | st.text(
    "ab0._-A/:", max_size=6
)
_TAGS = st.sampled_from(["", "", ":1", ":latest", ":A_b.c-d", ":", ":-", ":" + "t" * 128])
_DIGESTS = st.sampled_from(["", "", "@" + SHA, "@", "@sha256:0", "@" + SHA + "\n", "@" + SHA[:-1]])
_REFERENCES = st.tuples(
    _HOSTS,
    _PORTS,
    st.lists(_COMPONENTS, max_size=4).map(lambda names: "".join(f"/{name}" for name in names)),
    _TAGS,
    _DIGESTS,
).map("".join)


@given(_REFERENCES | st.text(max_size=60))
def test_agrees_with_the_second_reader(text: str) -> None:
    expected = image_oracle.read(text)
    try:
        image = ImageRef.parse(text)
    except Invalid:
        assert expected is None
    else:
        assert parts(image) == expected
        assert str(image) == text


_REGISTRIES = ["images.canfar.net", "images.canfar.net:443", "localhost", "a.b"]
_PROJECTS = ["skaha", "skah", "skaha-2", "a.b", "x"]
_SOURCES = st.tuples(st.sampled_from(_REGISTRIES), st.none() | st.sampled_from(_PROJECTS))


@given(
    st.lists(_SOURCES, max_size=4),
    st.tuples(st.sampled_from(_REGISTRIES), st.sampled_from(_PROJECTS), _COMPONENTS, _TAGS),
)
def test_permits_exactly_what_the_sources_name(
    sources: list[tuple[str, str | None]], reference: tuple[str, str, str, str]
) -> None:
    registry, project, name, tag = reference
    text = f"{registry}/{project}/{name}{tag}"
    expected = image_oracle.read(text)
    assume(expected is not None)
    assert expected is not None
    permitted = (expected.registry, expected.project) in sources or (
        expected.registry,
        None,
    ) in sources
    policy = ImagePolicy(
        sources=tuple(ImageSource(registry=where, project=what) for where, what in sources)
    )
    image = ImageRef.parse(text)
    if permitted:
        policy.check(image)
    else:
        with pytest.raises(NotAllowed) as caught:
            policy.check(image)
        assert caught.value.code == "image_not_allowed"
        assert caught.value.field == "image"
        assert caught.value.allowed == tuple(map(str, policy.sources))


@pytest.mark.parametrize(
    "text",
    [
        "images.canfar.net.evil.org/skaha/x:1",
        "evil.org/images.canfar.net/skaha:1",
        "evil.images.canfar.net/skaha/x:1",
        "images.canfar.net:443/skaha/x:1",
        "images.canfar.net/skaha2/x:1",
        "images.canfar.net/skah/a/x:1",
        "images.canfar.net/other/skaha:1",
        "images.canfar.net/other/skaha/x:1",
        "docker.io/skaha/x:1",
    ],
)
def test_look_alikes_of_a_source_are_not_it(text: str) -> None:
    policy = ImagePolicy(sources=(ImageSource.parse("images.canfar.net/skaha"),))
    policy.check(ImageRef.parse("images.canfar.net/skaha/x:1"))
    policy.check(ImageRef.parse("images.canfar.net/skaha/deep/x"))
    with pytest.raises(NotAllowed, match=r"images\.canfar\.net/skaha"):
        policy.check(ImageRef.parse(text))


def test_no_sources_permit_nothing() -> None:
    with pytest.raises(NotAllowed) as caught:
        ImagePolicy().check(ImageRef.parse("images.canfar.net/skaha/x:1"))
    assert "containers" in caught.value.sentence


@pytest.mark.parametrize("text", ["images.canfar.net", "images.canfar.net/skaha", "localhost:5000"])
def test_sources_are_written_as_they_are_read(text: str) -> None:
    assert str(ImageSource.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "images.canfar.net/",
        "images.canfar.net/a/b",
        "Images.canfar.net",
        "a.b/*",
        "a.b\n",
        "skaha/astroml",
        "skaha",
        "https://images.canfar.net",
        "images.canfar.net:0/skaha",
    ],
)
def test_a_source_that_could_never_match_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        ImageSource.parse(text)


def test_references_do_not_change() -> None:
    image = ImageRef.parse("images.canfar.net/skaha/x:1")
    with pytest.raises(ValidationError):
        image.registry = "evil.org"  # type: ignore[misc]
