package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"
)

// imageVariable names the image that the engine is measured with.
const imageVariable = "CLAUDE_BOTTLE_IMAGE"

// engineShare is what a container bottle may take of the engine's own bare run.
const engineShare = 1.3

// engine times `run --backend docker` of /bin/true with an image that is there beside `docker run` of
// the same image, for each runtime that both can be told to use.
func (b bottles) engine(ctx context.Context, runs int) error {
	image := os.Getenv(imageVariable)
	docker, err := exec.LookPath("docker")
	if image == "" || err != nil {
		fmt.Printf("\ncontainer engine: left out; for it set DOCKER_HOST and %s (an image that is there)\n", imageVariable)
		return nil
	}
	for _, runtime := range []string{"runc", "runsc"} {
		bare := contender{"docker run", []string{docker, "run", "--rm", "--network", "none", "--runtime", runtime, image, "/bin/true"}}
		if _, err := timed(ctx, bare.argv); err != nil {
			fmt.Printf("\n%s: left out: %v\n", runtime, err)
			continue
		}
		name := "engine-" + runtime
		if err := b.write("agents/"+name+".md", "---\nbottle: "+name+"\n---\n"); err != nil {
			return err
		}
		if err := b.write("bottles/"+name+".md", "---\nagent_provider: {template: shell, command: [/bin/true]}\nruntime: "+runtime+"\n---\n"); err != nil {
			return err
		}
		field := []contender{bare, {"claude-bottle", b.command("run", name, "--quiet", "--backend", "docker")}}
		took, err := turns(ctx, field, runs)
		if err != nil {
			return err
		}
		fmt.Printf("\nrun of /bin/true in a container by %s, %d rounds taken in turns\n", runtime, runs)
		fmt.Printf("  %-14s %9s %9s %9s\n", "", "median", "best", "p90")
		for _, c := range field {
			d := took[c.name]
			slices.Sort(d)
			fmt.Printf("  %-14s %9s %9s %9s\n", c.name, ms(median(d)), ms(d[0]), ms(d[len(d)*9/10]))
		}
		share := float64(median(took["claude-bottle"])) / float64(median(took["docker run"]))
		verdict("ratio to docker run", fmt.Sprintf("%.2f", share), share <= engineShare, fmt.Sprintf("at most %.1f", engineShare))
	}
	return nil
}

// turns runs every contender once a round and returns how long each took, the first round left out:
// it warms the caches.
func turns(ctx context.Context, field []contender, runs int) (map[string][]time.Duration, error) {
	took := map[string][]time.Duration{}
	for round := range runs + 1 {
		for _, c := range field {
			d, err := timed(ctx, c.argv)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 {
				took[c.name] = append(took[c.name], d)
			}
		}
	}
	return took, nil
}
