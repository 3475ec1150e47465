// Command picture draws a terminal's output as an SVG, for the README: `make picture`. It reads
// text with colour sequences (SGR) on standard input and writes the drawing to standard output.
package main

import (
	"bufio"
	"fmt"
	"html"
	"os"
	"strings"
)

// Measures of the drawing, in pixels.
const (
	charWidth  = 7.8
	lineHeight = 18
	margin     = 18
	titleBar   = 30
	maxColumns = 118
)

// colours of the SGR codes the program uses.
var colours = map[string]string{
	"1": "#ffffff", "2": "#7d8590", "31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff",
}

func main() {
	if err := draw(); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func draw() error {
	var lines []string
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		lines = append(lines, in.Text())
	}
	if err := in.Err(); err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	columns := float64(maxColumns)
	width := int(columns*charWidth) + 2*margin
	height := titleBar + len(lines)*lineHeight + 2*margin
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="claude-bottle in a terminal">`+"\n", width, height, width, height)
	fmt.Fprintf(out, `<rect width="%d" height="%d" rx="10" fill="#0d1117"/>`+"\n", width, height)
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(out, `<circle cx="%d" cy="16" r="6" fill="%s"/>`+"\n", 20+20*i, colour)
	}
	fmt.Fprintln(out, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="13" fill="#c9d1d9" xml:space="preserve">`)
	for i, line := range lines {
		fmt.Fprintf(out, `<text x="%d" y="%d">%s</text>`+"\n", margin, titleBar+margin+i*lineHeight, spans(line))
	}
	fmt.Fprintln(out, "</g>\n</svg>")
	return out.Flush()
}

// spans turns one line with colour sequences into tspans, cut at maxColumns.
func spans(line string) string {
	var b strings.Builder
	left := maxColumns
	for i, piece := range strings.Split(line, "\x1b[") {
		code, text := "", piece
		if i > 0 {
			code, text, _ = strings.Cut(piece, "m")
		}
		runes := []rune(text)
		if len(runes) > left {
			runes = append(runes[:max(left-1, 0)], '…')
		}
		left -= len(runes)
		if len(runes) > 0 {
			b.WriteString(span(code, string(runes)))
		}
		if left <= 0 {
			break
		}
	}
	return b.String()
}

func span(code, text string) string {
	style := ""
	if c, ok := colours[code]; ok {
		style = ` fill="` + c + `"`
	}
	if code == "1" {
		style += ` font-weight="bold"`
	}
	return "<tspan" + style + ">" + html.EscapeString(text) + "</tspan>"
}
