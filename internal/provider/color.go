package provider

// palette gives the colours an operator can name a shade that reads on dark and light terminals.
var palette = [...]struct{ name, hex string }{
	{"red", "#d64545"}, {"orange", "#d9822b"}, {"yellow", "#c9a227"}, {"green", "#3f9e4d"},
	{"cyan", "#2a9d9d"}, {"blue", "#3b7dd8"}, {"purple", "#8a5cd1"}, {"magenta", "#c04f9e"},
	{"pink", "#d9669a"}, {"gray", "#808080"}, {"grey", "#808080"},
}

// hexColor turns a colour's name or "#rrggbb" into "#rrggbb"; anything else has no colour.
func hexColor(color string) (string, bool) {
	for _, p := range palette {
		if p.name == color {
			return p.hex, true
		}
	}
	if len(color) != 7 || color[0] != '#' {
		return "", false
	}
	for _, c := range color[1:] {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return "", false
		}
	}
	return color, true
}
