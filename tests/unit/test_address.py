"""`module:attribute`, as users write it."""

from __future__ import annotations

import pytest

from hippo_messenger.address import Address

FORM = 'a worker as "module:worker"'


def test_it_is_a_module_as_in_an_import_and_a_name_in_it() -> None:
    assert Address.of("shop.work:worker", form=FORM) == Address("shop.work", "worker")


@pytest.mark.parametrize("text", ["", "shop", ":worker", "shop:"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'^expected a worker as "module:worker", got '):
        Address.of(text, form=FORM)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("./work.py:w", "; write work:w"),
        ("shop/work.py:w", "; write shop.work:w"),
        ("shop/work:w", "; write shop.work:w"),
        ("work.py:w", "; write work:w"),
        (".work:w", "; write work:w"),
        ("../work.py:w", "; write work:w, in .."),
        ("/srv/shop/work.py:w", "; write work:w, in /srv/shop"),
        ("./my-work.py:w", ""),
        (".:w", ""),
    ],
)
def test_the_path_of_a_file_is_refused_with_what_to_write_instead(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        Address.of(text, form=FORM)
    assert str(refused.value) == f"expected {FORM}, with the module as in an import, got {text!r}{hint}"
