package escape

// Sequences that undo what Filter lets through.
const (
	// modesOff returns every mode, the pen, the character sets, the link and the cursor's looks
	// to what a terminal starts with. The cursor stays: leaving origin mode and setting the
	// scroll region would home it, hence the save and restore.
	modesOff = "\x1b[?2026l" +
		"\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l" + // mouse
		"\x1b[?1004l\x1b[?2004l\x1b[?2027l\x1b[?2031l" + // focus, paste, clusters, scheme
		"\x1b[?1l\x1b>\x1b[>4m\x1b[<32u" + // cursor keys, keypad, modified keys, kitty keyboard
		"\x1b[?5l\x1b[?12l\x1b[4l" +
		"\x1b7\x1b[?6l\x1b[r\x1b8\x1b[?7h" +
		"\x1b(B\x1b)B\x0f\x1b]8;;\x1b\\\x1b[0m\x1b[0 q\x1b[?25h"

	softReset = modesOff
	hardReset = "\x1b[?1049l" + modesOff + "\x1b[H\x1b[2J"

	// AltOn and AltOff are how a Filter spells the switch to the alternate screen and back.
	AltOn  = "\x1b[?1049h"
	AltOff = "\x1b[?1049l"

	// Reset gives a terminal on its main screen back to whoever had it before. A terminal on its
	// alternate screen gets LeaveAlt first; on the main screen that would move the cursor.
	Reset = modesOff

	// LeaveAlt returns from the alternate screen, with its own keyboard stack emptied.
	LeaveAlt = "\x1b[<32u" + AltOff
)
