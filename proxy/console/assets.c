/* The page's files, taken into the binary when it is built: nothing is read from disk while it serves. */
#include "proxy/console/console_int.h"

#include <string.h>

/* The assembler finds the file, from the top of the tree or by its absolute path. */
#define EMBED(symbol, file) \
    __asm__(".pushsection .rodata\n.balign 16\n" #symbol ":\n.incbin \"" file "\"\n" #symbol "_end:\n.popsection\n"); \
    extern const uint8_t symbol[] __attribute__((visibility("hidden"))); \
    extern const uint8_t symbol##_end[] __attribute__((visibility("hidden")))

EMBED(pv_asset_html, "proxy/console/page/index.html");
EMBED(pv_asset_css, "proxy/console/page/console.css");
EMBED(pv_asset_icon, "proxy/console/page/icon.svg");
EMBED(pv_asset_js, "proxy/console/page/console.js");
EMBED(pv_asset_dom_js, "proxy/console/page/dom.js");
EMBED(pv_asset_charts_js, "proxy/console/page/charts.js");
EMBED(pv_asset_views_js, "proxy/console/page/views.js");
EMBED(pv_asset_log_js, "proxy/console/page/log.js");
EMBED(pv_asset_licence, "proxy/console/page/chart.LICENSE");
/* Debian's libjs-chart.js; the Makefile says where it lies. */
EMBED(pv_asset_chart, PV_CHART_JS);

static const struct pv_asset assets[] = {
    {"/", "text/html; charset=utf-8", pv_asset_html, pv_asset_html_end},
    {"/console.css", "text/css; charset=utf-8", pv_asset_css, pv_asset_css_end},
    {"/icon.svg", "image/svg+xml", pv_asset_icon, pv_asset_icon_end},
    {"/console.js", "text/javascript; charset=utf-8", pv_asset_js, pv_asset_js_end},
    {"/dom.js", "text/javascript; charset=utf-8", pv_asset_dom_js, pv_asset_dom_js_end},
    {"/charts.js", "text/javascript; charset=utf-8", pv_asset_charts_js, pv_asset_charts_js_end},
    {"/views.js", "text/javascript; charset=utf-8", pv_asset_views_js, pv_asset_views_js_end},
    {"/log.js", "text/javascript; charset=utf-8", pv_asset_log_js, pv_asset_log_js_end},
    {"/chart.js", "text/javascript; charset=utf-8", pv_asset_chart, pv_asset_chart_end},
    {"/chart.LICENSE", "text/plain; charset=utf-8", pv_asset_licence, pv_asset_licence_end},
};

const struct pv_asset *
pv_asset_find(const char *path)
{
    for (size_t i = 0; i < PV_COUNT_OF(assets); i++)
        if (strcmp(path, assets[i].path) == 0)
            return &assets[i];
    return NULL;
}
