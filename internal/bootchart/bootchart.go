// Package bootchart draws a boot report as an SVG picture: one bar per step
// over a time axis in seconds. It is pure and measures nothing.
package bootchart

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
)

// Measures of the picture in pixels.
const (
	width     = 1200
	left      = 20  // of the axis
	right     = 220 // room for the name of a step that starts late
	rowHeight = 20
	barHeight = 14
	header    = 92 // above the first row
	legendGap = 150
)

// palette colours phases in the order in which they appear. It keeps its
// contrast for readers who see few colours (Okabe and Ito, 2008).
var palette = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"}

const failedColour = "#b00020"

// Draw writes the picture.
func Draw(w io.Writer, r bootlog.Report) error {
	steps := slices.Clone(r.Steps)
	slices.SortStableFunc(steps, func(a, b bootlog.Step) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	end := math.Max(r.Ready, 1)
	for _, s := range steps {
		end = math.Max(end, s.End)
	}
	out := bufio.NewWriter(w)
	c := chart{out: out, scale: (width - left - right) / end, bottom: header + rowHeight*len(steps) + 8}
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, c.bottom+16)
	fmt.Fprintln(out, `<rect width="100%" height="100%" fill="#fff"/>`)
	c.text(left, 24, "#000", fmt.Sprintf("Bulkhead %s, kernel %s: ready in %.1f s", r.Version, r.Kernel, r.Ready))
	colours := c.legend(steps)
	c.axis(end)
	for i, s := range steps {
		c.bar(header+rowHeight*i, s, colours[phase(s)])
	}
	c.mark("A: system Docker", r.SystemDocker, 62)
	c.mark("B: user Docker", r.UserDocker, 62)
	c.mark("ready", r.Ready, 74)
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}

type chart struct {
	out    *bufio.Writer
	scale  float64 // pixels per second
	bottom int
}

// x is where a moment is on the axis.
func (c chart) x(seconds float64) float64 { return left + seconds*c.scale }

func (c chart) text(x float64, y int, colour, s string) {
	fmt.Fprintf(c.out, `<text x="%.1f" y="%d" fill="%s">%s</text>`+"\n", x, y, colour, escape(s))
}

// legend names the phases and returns their colours.
func (c chart) legend(steps []bootlog.Step) map[string]string {
	colours := make(map[string]string)
	for _, s := range steps {
		name := phase(s)
		if colours[name] != "" {
			continue
		}
		n := len(colours)
		colours[name] = palette[n%len(palette)]
		x := float64(left + legendGap*n)
		fmt.Fprintf(c.out, `<rect x="%.1f" y="34" width="12" height="12" fill="%s"/>`+"\n", x, colours[name])
		c.text(x+18, 44, "#000", name)
	}
	return colours
}

// axis draws a line per second, or per so many that they stay apart.
func (c chart) axis(end float64) {
	every := 1.0
	for _, n := range []float64{1, 2, 5, 10, 30, 60, 300} {
		if every = n; n*c.scale >= 40 {
			break
		}
	}
	for t := 0.0; t <= end; t += every {
		x := c.x(t)
		fmt.Fprintf(c.out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`+"\n", x, header-6, x, c.bottom)
		c.text(x+2, header-8, "#777", fmt.Sprintf("%.0f s", t))
	}
}

func (c chart) bar(y int, s bootlog.Step, colour string) {
	label := fmt.Sprintf("%s %.2f s", s.Name, s.End-s.Start)
	if s.Error != "" {
		colour = failedColour
		label += " failed: " + s.Error
	}
	x, w := c.x(s.Start), math.Max((s.End-s.Start)*c.scale, 1)
	fmt.Fprintf(c.out, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"><title>%s, from %.2f s to %.2f s</title></rect>`+"\n",
		x, y, w, barHeight, colour, escape(label), s.Start, s.End)
	c.text(x+w+5, y+barHeight-3, "#000", label)
}

// mark draws a moment that matters.
func (c chart) mark(name string, at float64, y int) {
	if at <= 0 {
		return
	}
	x := c.x(at)
	fmt.Fprintf(c.out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#000" stroke-dasharray="4 3"/>`+"\n", x, y-8, x, c.bottom)
	c.text(x+3, y, "#000", fmt.Sprintf("%s %.1f s", name, at))
}

// phase is the part of a step's name before the slash.
func phase(s bootlog.Step) string {
	name, _, _ := strings.Cut(s.Name, "/")
	return name
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // A Builder takes everything.
	return b.String()
}
