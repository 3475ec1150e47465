package session

import "fmt"

// Bounds of a screen's size. An emulated cell costs about a hundred bytes.
const (
	maxRows, maxCols = 500, 1000
	maxCells         = 160_000
)

// bounded returns a size that is safe to emulate.
func bounded(rows, cols uint16) (uint16, uint16) {
	cols = min(max(cols, 2), maxCols)
	rows = min(max(rows, 1), maxRows, uint16(maxCells/int(cols)))
	return rows, cols
}

// fit gives the session the smallest of its clients' sizes. The client that caused it has
// redrawn its own window already; the others are repainted. s.mu is held.
func (s *Session) fit(cause *Client) {
	if s.screen == nil {
		return
	}
	var rows, cols uint16
	for _, c := range s.clients {
		if c.rows == 0 {
			continue
		}
		if rows == 0 {
			rows, cols = c.rows, c.cols
		}
		rows, cols = min(rows, c.rows), min(cols, c.cols)
	}
	if rows == 0 {
		rows, cols = uint16(s.screen.rows), uint16(s.screen.cols)
	}
	changed := int(rows) != s.screen.rows || int(cols) != s.screen.cols
	if changed {
		s.screen.resize(int(rows), int(cols))
		if s.process != nil {
			_ = s.process.Resize(rows, cols) // a process that is gone already is found out by Wait
		}
		if s.cfg.Cast != nil {
			s.cfg.Cast.Resize(rows, cols)
		}
		s.cfg.Notify(fmt.Sprintf("terminal size is now %d by %d", cols, rows))
	}
	for _, c := range s.clients {
		mirror := c.rows != 0 && (c.rows != rows || c.cols != cols)
		if mirror || mirror != c.mirror || changed && c != cause {
			c.repaint()
		}
		c.mirror = mirror
	}
}
