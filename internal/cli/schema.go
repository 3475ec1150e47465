package cli

import (
	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema agent|bottle|preset",
		Short: "Print the JSON Schema of a manifest's frontmatter",
		Long: `Print the JSON Schema (draft 2020-12) of the frontmatter of an agent's, a bottle's or a
preset's file, for editors that complete and check as you type.`,
		Example:   "  claude-bottle schema bottle > bottle.schema.json",
		GroupID:   groupSetup,
		Args:      argsBetween(1, 1, "one of agent, bottle, preset"),
		ValidArgs: []string{string(manifest.KindAgent), string(manifest.KindBottle), string(manifest.KindPreset)},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("kind of manifest", args[0], cmd.ValidArgs...); err != nil {
				return err
			}
			text, err := manifest.Schema(manifest.Kind(args[0]))
			if err != nil {
				return err
			}
			_, err = a.sys.Stdout.Write(text)
			return err
		},
	}
}
