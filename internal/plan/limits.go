package plan

import (
	"cmp"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
)

// defaults bound a bottle whose manifest says nothing: room for one agent at work, and no way to
// take the machine down. There is no default for cpus: processor time comes back by itself.
func defaults() backend.Limits {
	return backend.Limits{Memory: 4 << 30, PIDs: 1024, Disk: 10 << 30, Tmp: 1 << 30}
}

// limits lays what the manifest declares over the defaults.
func limits(m manifest.Limits) backend.Limits {
	l := defaults()
	set(&l.Memory, m.Memory)
	set(&l.PIDs, m.PIDs)
	set(&l.CPUs, m.CPUs)
	set(&l.Disk, m.Disk)
	set(&l.Tmp, m.Tmp)
	return l
}

// number is what limits are counted in.
type number interface{ ~int64 | ~float64 }

func set[T, V number](on *T, v *V) {
	if v != nil {
		*on = T(*v)
	}
}

// unenforced tells which limits of the plan nothing enforces on this backend here.
func (b *builder) unenforced(f backend.Facts) {
	l := b.plan.Limits
	wanted := map[string]bool{"memory": l.Memory > 0, "pids": l.PIDs > 0, "cpus": l.CPUs > 0, "disk": l.Disk > 0, "tmp": l.Tmp > 0}
	var names []string
	for name, e := range f.Limits {
		if wanted[name] && e.By == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		b.note(Info, "", "the limit on %s is not enforced here: %s", name, cmp.Or(f.Limits[name].Note, "the "+f.Name+" backend can't"))
	}
}
