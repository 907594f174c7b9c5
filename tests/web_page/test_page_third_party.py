"""A third party's block on the page: in the palette with its owner and color, drawn and run."""

import pytest
from page_flows import card

from sim_devin import Specs, hookimpl
from sim_devin.engine.contract import handler
from sim_devin.specs.models import BlockField, BlockSpec

COLOR = "#0b7285"


@handler(inline=True)
def greet(block):
    return {"greeting": f"Hello {block.values['who']}"}


class Greetings:
    """Brings a block with a color, letters and a handler of its own."""

    __name__ = "acme-greetings"

    @hookimpl
    def sim_devin_specs(self):
        block = BlockSpec(
            type="acme_greet",
            title="Greet",
            description="Greet somebody.",
            color=COLOR,
            icon="Hi",
            fields=(BlockField(id="who", title="Who", required=True),),
            outputs={"greeting": {"type": "string"}},
        )
        return Specs(blocks=(block,))

    @hookimpl
    def sim_devin_handlers(self):
        return {"acme_greet": greet}


@pytest.fixture
def plugins():
    return (Greetings(),)


def test_a_third_partys_block_is_drawn_and_run(new_workflow, site, expect):
    page = new_workflow()
    offered = page.locator("[data-block=acme_greet]")
    expect(offered).to_contain_text("Greet")
    expect(offered.locator(".owner")).to_have_text("acme-greetings")
    expect(offered.locator(".icon rect")).to_have_attribute("fill", COLOR)
    expect(offered.locator(".icon text")).to_have_text("Hi")
    expect(page.locator("[data-block=devin] .owner")).to_have_count(0)
    page.get_by_label("Search blocks").fill("acme-gree")
    expect(page.locator(".palette-list button")).to_have_count(1)
    offered.drag_to(page.locator(".react-flow__pane"), target_position={"x": 420, "y": 140})
    drawn = card(page, "Greet")
    expect(drawn.locator(".icon rect")).to_have_attribute("fill", COLOR)
    start = card(page, "Start").locator('[data-handleid="source"]')
    start.drag_to(drawn.locator('[data-handleid="target"]'))
    expect(page.locator(".panel")).to_contain_text("Brought by acme-greetings.")
    page.get_by_label("Who").fill("Ada")
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    expect(drawn.locator(".status-text")).to_contain_text("Done")
    expect(page.locator(".result")).to_contain_text("Hello Ada")
