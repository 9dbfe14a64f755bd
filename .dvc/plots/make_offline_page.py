"""Make offline.html, the page into which `dvc plots show` and `dvc plots diff` draw.

DVC's own page loads vega, vega-lite and vega-embed (BSD-3-Clause) from a content network, so without internet every
curve stays blank. This one carries them. Once, after a change of vega's version:

    pip install vl-convert-python==1.9.0.post1 && python .dvc/plots/make_offline_page.py
"""

from pathlib import Path

import vl_convert

# {plot_divs} and {refresh_tag} are DVC's; {scripts}, which names the content network, is left out on purpose.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>annealed_lm: plots</title>
<!-- made by make_offline_page.py; vega %(vega)s, vega-lite %(vegalite)s, vega-embed %(embed)s, BSD-3-Clause -->
<script>%(bundle)s
{
  const embed = window.vegaEmbed;
  window.vegaEmbed = (place, chart) => {  // as many panels side by side as there is room for
    const fitting = Math.floor((document.documentElement.clientWidth - 40) / ((chart.spec?.width ?? 1) + 70));
    if (chart.facet) chart.columns = Math.max(1, Math.min(chart.columns, fitting));
    return embed(place, chart);
  };
}
</script>
<style>
body { font-family: sans-serif; margin: 8px; display: flex; flex-wrap: wrap; align-items: flex-start; gap: 16px; }
body > div { max-width: 100%%; overflow-x: auto; border: 0 !important; white-space: normal !important; }
body > div > div > p, body > div > p { margin: 4px; font-weight: bold; }
img { width: 560px; max-width: 100%%; }
</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    page = PAGE % {
        "vega": vl_convert.get_vega_version(),
        "vegalite": vl_convert.get_vegalite_versions()[-1],
        "embed": vl_convert.get_vega_embed_version(),
        "bundle": vl_convert.javascript_bundle().replace("</script", "<\\/script"),
    }
    Path(__file__).with_name("offline.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
