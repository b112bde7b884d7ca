"""The pictures of bench/scaling, by gnuplot. SPDX-License-Identifier: MIT"""
import shutil
import subprocess
import sys

# Okabe and Ito's colours: told apart by everybody; the points' shapes tell them apart in black and white.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
POINTS = [7, 5, 9, 11, 13, 4]
WAIT = "#DDDDDD"

STYLE = """
set encoding utf8
set termoption noenhanced
set border 3 lc rgb "#444444"
set tics nomirror out
set grid ytics lc rgb "#DDDDDD" lt 1
set key top left reverse Left samplen 2 spacing 1.1
set style fill solid 1 noborder
set lmargin 11
set rmargin 2
set bmargin 3.6
set tmargin 2.6
"""


def block(name, lines):
    return "$%s << END\n%s\nEND\n" % (name, "\n".join(lines))


def y_axis(values, linear, n_keys):
    """Logarithmic with readable tics, or from 0; with room for the key above the lines."""
    if linear or max(values) < 4 * min(values):
        return "set yrange [0:%g]\n" % (1.15 * max(values))
    low, high, tics = min(values), max(values), []
    for power in range(-3, 7):
        tics += [m * 10.0**power for m in ((1, 2, 5) if high / low < 300 else (1,))]
    room = 1.3 * (high / low) ** (0.09 * n_keys / (1 - 0.09 * n_keys))
    return "set logscale y\nset yrange [%g:%g]\nset ytics (%s)\n" % (0.8 * low, room * high, ", ".join("%g" % t for t in tics))


def lines_panel(rows, tests, title, y_label, column, bound=None, linear=False, key=True, scale=1.0, ideal=False):
    """One line for each test and number of streams over the ranks; its bound dashed in the same colour."""
    series = sorted({(r["test"], not r["series"].isdigit(), int(r["series"].split()[0]), r["series"]) for r in rows
                     if r["test"].startswith(tests)})
    several = len({s[0] for s in series}) > 1
    text, plots, values = "", [], []
    for i, (test, _, _, streams) in enumerate(series):
        mine = sorted(((int(r["ranks"]), r) for r in rows if r["test"] == test and r["series"] == streams), key=lambda x: x[0])
        name = "%s_%s_%d" % (column, tests, i)
        text += block(name, ["%d %g %g" % (n, scale * float(r[column]), scale * float(r[bound or column])) for n, r in mine])
        values += [scale * float(r[c]) for _, r in mine for c in (column, bound or column)]
        name_of = "%s stream%s" % (streams.split()[0], "" if streams == "1" else "s") + (" a rank" if " " in streams else "")
        label = name_of + (", " + test if several else "")
        look = 'lc rgb "%s" lw 2' % COLOURS[i % len(COLOURS)]
        if bound:
            plots.append('$%s using 1:3 with lines dt (6,4) %s notitle' % (name, look))
        plots.append('$%s using 1:2 with linespoints pt %d ps 1 %s title "%s"' % (name, POINTS[i % len(POINTS)], look, label))
    ranks = sorted({int(r["ranks"]) for r in rows})
    text += 'set title "%s"\nset xlabel "ranks"\nset ylabel "%s"\n' % (title, y_label)
    if ideal:
        text += block("ideal", ["%d %d" % (n, n) for n in (ranks[0], ranks[-1])])
        plots.insert(0, '$ideal with lines lc rgb "#999999" lw 1.5 dt (2,3) title "as many times as ranks"')
        values += ranks
    text += "set logscale x 2\nset xrange [%g:%g]\nset xtics (%s)\n" % (ranks[0] * 0.9, ranks[-1] * 1.1, ", ".join(map(str, ranks)))
    text += y_axis(values, linear, len(series) + ideal if key else 0) + ("set key top left\n" if key else "unset key\n")
    return text + "plot " + ", \\\n     ".join(plots) + "\nunset logscale\nunset yrange\nset ytics auto\n"


def busy_panel(rows, test, streams):
    """A bar for each rank of each job, busy below and waiting above."""
    mine = sorted(((int(r["ranks"]), r) for r in rows if r["test"] == test and r["series"] == streams), key=lambda x: x[0])
    at, lines, tics = 0, [], []
    for n, r in mine:
        first = at
        for x in r["busy"].split():
            lines.append("%d %g %g" % (at, 100 * min(1.0, float(x)), 100))
            at += 1
        tics.append('"%d" %g' % (n, (first + at - 1) / 2))
        at += 1
    text = block("busy", lines)
    text += 'set title "Where the ranks\' time goes, %s, %s stream%s"\nset xlabel "ranks (one bar each)"\nset ylabel "share of the time, %%"\n' % (
        test, streams, "" if streams == "1" else "s")
    text += 'set xrange [-1:%d]\nset xtics (%s) scale 0\nset yrange [0:118]\nset ytics 0,20,100\nset boxwidth 0.85\nset key top right horizontal\n' % (
        at - 1, ", ".join(tics))
    return text + 'plot $busy using 1:3 with boxes lc rgb "%s" title "waiting", $busy using 1:2 with boxes lc rgb "%s" title "computing"\n' % (
        WAIT, COLOURS[0])


def script(rows):
    most = max((int(r["series"]), r["test"]) for r in rows if r["test"].startswith("tg") and r["series"].isdigit())
    r = rows[0]
    caption = "%s, %s thread%s a rank, %s — %s, %s, commit %s" % (r["model"], r["threads"], "" if r["threads"] == "1" else "s",
                                                                  r["devices"], r["machine"], r["date"], r["commit"])
    text = STYLE + 'set multiplot layout 2,3 title "%s" font ",13"\n' % caption.replace('"', "'")
    text += lines_panel(rows, "tg", "Decode (dashed: bound)", "tokens/s, all streams", "tokens_per_s", "bound_tokens_per_s")
    text += lines_panel(rows, "tg", "Decode: speed-up over one rank", "times", "speedup", ideal=True)
    text += lines_panel(rows, "tg", "Decode: share of the bound", "%", "efficiency", linear=True, key=False, scale=100)
    text += lines_panel(rows, "pp", "Prompts (dashed: bound)", "tokens/s, all streams", "tokens_per_s", "bound_tokens_per_s")
    text += lines_panel(rows, "tg", "Decode: a stream's time for a token", "ms", "ms_per_token", key=False)
    text += busy_panel(rows, most[1], str(most[0]))
    return text + "unset multiplot\n"


def plot(rows, out):
    """OUT.svg and OUT.png; says so where there is no gnuplot."""
    if not shutil.which("gnuplot"):
        print("no plots: gnuplot is not installed (package gnuplot-nox)", file=sys.stderr)
        return
    body = script(rows)
    for ending, terminal in (("svg", 'svg size 1500,900 font "DejaVu Sans,14" background "white"'),
                             ("png", 'pngcairo size 1500,900 font "DejaVu Sans,11" background "white"')):
        text = 'set terminal %s\nset output "%s.%s"\n%s' % (terminal, out, ending, body)
        done = subprocess.run(["gnuplot"], input=text, capture_output=True, text=True)
        if done.returncode or "line" in done.stderr:
            sys.exit("gnuplot failed: %s" % done.stderr.strip())
