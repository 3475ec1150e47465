package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// file is one manifest file, parsed. When errs is not empty the rest may be incomplete and must
// not be used.
type file struct {
	name bottle.Name
	kind Kind
	path string // on the host, for people
	repo bool   // found in the repository, not in the operator's home
	errs []*Error
	at   map[string]Pos
	body string

	agent  agentKeys // kind agent
	parent bottle.Name
	layer  layer // kind bottle: this file alone, without its parent
	preset presetFile
}

// parse reads one manifest. It never panics and returns a file for any input. Presets are the
// operator's own that a bottle may use, by name.
func parse(name bottle.Name, kind Kind, path string, src []byte, presets map[string]*file) *file {
	f := &file{name: name, kind: kind, path: path, at: map[string]Pos{}}
	doc, bad := split(path, src)
	if bad != nil {
		f.errs = []*Error{bad}
		return f
	}
	keys := newKeys(kind)
	f.body = doc.body
	d := newDecoder(path, kind, doc.firstLine)
	d.presets = presets
	if kind == KindPreset {
		f.preset = d.preset(doc, f.name.String())
	} else {
		d.decode(doc, keys)
	}
	f.at, f.errs = d.at, d.errs
	switch k := keys.(type) {
	case *agentKeys:
		f.agent = *k
		f.twice("skills", len(k.Skills), func(i int) string { return k.Skills[i].String() })
	case *bottleKeys:
		f.parent = k.Extends
		f.layer = layerOf(f, k)
	}
	slices.SortStableFunc(f.errs, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	if n := len(f.errs) - maxErrors; n > 0 {
		f.errs = append(f.errs[:maxErrors], &Error{Pos: f.errs[maxErrors].Pos, Msg: fmt.Sprintf("and %d mistakes more from here on", n)})
	}
	return f
}

// fail reports a mistake found after decoding, at the nearest place that is known.
func (f *file) fail(at place, msg, hint string) {
	f.errs = append(f.errs, &Error{Pos: f.posOf(at.path), Field: at.path, Msg: msg, Hint: hint})
}

func (f *file) posOf(path string) Pos {
	for p := path; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if pos, ok := f.at[p]; ok {
			return pos
		}
	}
	return Pos{f.path, 1, 1}
}

// broken reports whether a mistake at or below a place is told already.
func (f *file) broken(at place) bool {
	return slices.ContainsFunc(f.errs, func(e *Error) bool { return strings.HasPrefix(e.Field, at.path) })
}

// oneOf reports v when the table says that it isn't accepted there.
func (f *file) oneOf(v string, at place) {
	if known := lookup(f.kind, at.shape).Values; !slices.Contains(known, v) {
		f.fail(at, "unknown value "+shown(v), choices(v, known, "accepted"))
	}
}

// twice reports list items that repeat.
func (f *file) twice(key string, n int, item func(int) string) {
	seen := make(map[string]bool, n)
	for i := range n {
		if s := item(i); s != "" && seen[s] {
			f.fail(place{path: fmt.Sprintf("%s[%d]", key, i)}, strconv.Quote(s)+" is there twice", "")
		}
		seen[item(i)] = true
	}
}

// readFolder parses the manifests of one kind in a tree. In a repository links are refused: the
// repository's author could point them at files of the operator's.
func readFolder(tree fs.FS, root string, kind Kind, repo bool, presets map[string]*file) (files []*file, warnings []Warning) {
	folder := string(kind) + "s"
	shown := filepath.Join(root, folder)
	warn := func(name, msg string) {
		warnings = append(warnings, Warning{filepath.Join(shown, name), msg})
	}
	if repo {
		if fi, err := fs.Lstat(tree, folder); err == nil && !fi.IsDir() {
			warn("", "ignored: in a repository this must be a folder, not a link")
			return nil, warnings
		}
	}
	entries, err := readDir(tree, folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		warn("", "can't be read: "+reason(err))
		return nil, warnings
	case len(entries) > maxFiles:
		warn("", fmt.Sprintf("ignored: it holds more than %d files", maxFiles))
		return nil, warnings
	}
	for _, e := range entries {
		base, isManifest := strings.CutSuffix(e.Name(), ".md")
		switch {
		case !isManifest:
			if ext := strings.ToLower(path.Ext(e.Name())); ext == ".md" || ext == ".markdown" || ext == ".yaml" || ext == ".yml" || ext == ".json" {
				warn(e.Name(), "ignored: a manifest is called <name>.md")
			}
			continue
		case e.Name()[0] == '.':
			continue // an editor's
		}
		name, err := bottle.ParseName(base)
		if err != nil {
			warn(e.Name(), "ignored: "+err.Error())
			continue
		}
		p := filepath.Join(shown, e.Name())
		src, bad := readFile(tree, path.Join(folder, e.Name()), e, repo)
		if bad != nil {
			bad.File = p
			files = append(files, &file{name: name, kind: kind, path: p, repo: repo, errs: []*Error{bad}})
			continue
		}
		f := parse(name, kind, p, src, presets)
		f.repo = repo
		files = append(files, f)
	}
	return files, warnings
}

// readDir lists a folder, reading at most one entry more than is accepted.
func readDir(tree fs.FS, folder string) ([]fs.DirEntry, error) {
	f, err := tree.Open(folder)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	dir, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, errors.New("not a folder")
	}
	entries, err := dir.ReadDir(maxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// readFile reads a regular file of bounded size. The type is looked at before opening, since
// opening a named pipe waits for its writer.
func readFile(tree fs.FS, name string, e fs.DirEntry, repo bool) ([]byte, *Error) {
	if e.Type()&fs.ModeSymlink != 0 {
		if repo {
			return nil, &Error{Msg: "is a link, and links in a repository are not followed", Hint: "make it a file"}
		}
		fi, err := fs.Stat(tree, name)
		if err != nil {
			return nil, &Error{Msg: "can't be read: " + reason(err)}
		}
		e = fs.FileInfoToDirEntry(fi)
	}
	if !e.Type().IsRegular() {
		return nil, &Error{Msg: "is not a regular file"}
	}
	f, err := tree.Open(name)
	if err != nil {
		return nil, &Error{Msg: "can't be read: " + reason(err)}
	}
	defer f.Close() // opened for reading: nothing can be lost
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, &Error{Msg: "can't be read: " + reason(err)}
	case len(src) > maxFile:
		return nil, &Error{Msg: fmt.Sprintf("is larger than %d KiB", maxFile>>10)}
	}
	return src, nil
}

// reason is err without the path, which the place tells already.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
