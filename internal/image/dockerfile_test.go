package image

import (
	"strings"
	"testing"
)

func TestTheImagesOfADockerfile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text, images, frontend string
		froms                        int
	}{
		{"one", "FROM debian:12\nRUN true", "debian:12", "", 1},
		{"lower case, flags, a stage", "from --platform=$BUILDPLATFORM golang:1 as Build\nFROM build\nFROM scratch\nCOPY --from=build /a /a", "golang:1", "", 3},
		{"arguments", "ARG V=12\nARG IMG=\"debian:$V\"\nFROM ${IMG}\nFROM x:${NO:-1}\nFROM y${V:+-slim}\nFROM z:$TARGETARCH", "debian:12 x:1 y-slim z:riscv64", "", 4},
		{"no value", "ARG V\nFROM a:$V\nFROM b", "b", "", 2},
		{"an argument of a stage", "FROM a\nARG V=1\nFROM b:$V", "a", "", 2},
		{"files from images", "FROM a\nCOPY --from=b:1 /x /x\nCOPY --from=0 /x /x\nRUN --mount=type=bind,from=c,target=/c true", "a b:1 c", "", 1},
		{"continuation", "FROM \\\n# a comment between\n  a \\\n  AS x\nRUN echo \\\nFROM b\n", "a", "", 1},
		{"comments", "# FROM a\nFROM b\n  # FROM c", "b", "", 1},
		{"syntax", "#syntax = docker/dockerfile:1\nFROM a", "a", "docker/dockerfile:1", 1},
		{"syntax too late", "FROM a\n# syntax=x", "a", "", 1},
		{"another escape", "# escape=`\nFROM `\na\nRUN echo \\\nFROM b", "a b", "", 2},
		{"here-document", "FROM a\nRUN <<EOF cat\nFROM b\nEOF\nCOPY <<-\"E2\" /x\n\tFROM c\n\tE2\nFROM d", "a d", "", 2},
		{"no here-document", "FROM a\nRUN echo $((1<<2))\nFROM b", "a b", "", 2},
		{"twice", "FROM a\nFROM a", "a", "", 2},
		{"nothing", "FROM\n\n\\\n", "", "", 1},
	} {
		d := readDockerfile(tc.text, "riscv64")
		if got := strings.Join(d.images, " "); got != tc.images || d.frontend != tc.frontend || len(d.froms) != tc.froms {
			t.Errorf("%s: got %q, %q, %d stages; want %q, %q, %d", tc.name, got, d.frontend, len(d.froms), tc.images, tc.frontend, tc.froms)
		}
	}
}

func TestEveryStageIsLabelled(t *testing.T) {
	t.Parallel()
	got := readDockerfile("ARG A=1\nFROM a \\\n AS x\nRUN true\nFROM x", "amd64").labelled("LABEL l=1")
	want := "ARG A=1\nFROM a \\\n AS x\nLABEL l=1\nRUN true\nFROM x\nLABEL l=1\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzDockerfile(f *testing.F) {
	f.Add("# escape=`\nARG A=b\nFROM ${A:-x}:$A AS y\nCOPY --from=y <<EOF /\nFROM\nEOF\n")
	f.Fuzz(func(t *testing.T, text string) {
		d := readDockerfile(text, "amd64")
		if got := strings.ReplaceAll(d.labelled("\x00"), "\x00\n", ""); len(d.froms) == 0 && got != text && !strings.Contains(text, "\x00") {
			t.Fatalf("%q became %q", text, got)
		}
		for _, image := range d.images {
			if strings.ContainsAny(image, "$ \n") {
				t.Fatalf("%q names the image %q", text, image)
			}
		}
	})
}
