package cli

import "os"

// style paints text for a terminal; the zero style leaves it plain.
type style struct{ on bool }

// styleFor returns the style for w: colours on a terminal that has them, unless the operator set
// NO_COLOR (https://no-color.org) or TERM=dumb.
func (s *System) styleFor(w *os.File) style {
	term := s.getenv("TERM")
	return style{isTerminal(w) && s.getenv("NO_COLOR") == "" && term != "" && term != "dumb"}
}

func (st style) paint(code, text string) string {
	if !st.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (st style) bold(s string) string   { return st.paint("1", s) }
func (st style) dim(s string) string    { return st.paint("2", s) }
func (st style) red(s string) string    { return st.paint("31", s) }
func (st style) green(s string) string  { return st.paint("32", s) }
func (st style) yellow(s string) string { return st.paint("33", s) }
func (st style) cyan(s string) string   { return st.paint("36", s) }
