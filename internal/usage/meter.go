package usage

import (
	"cmp"
	"slices"
	"sync"
)

// Bounds on what a Meter tells apart. Names come from upstreams, and hosts from a bottle where a
// rule has a wildcard.
const (
	maxModels = 64
	maxHosts  = 256
)

// Other is the name under which a Meter counts the models and hosts that come after too many.
const Other = "other"

// Sample is one request, or several that were counted together.
type Sample struct {
	Host     string // as the audit log has it
	Requests int64
	BytesOut int64 // bottle to upstream
	BytesIn  int64 // upstream to bottle
	Usage    Usage // the zero Usage where no model answered
}

// Totals is what was counted of some requests.
type Totals struct {
	Requests int64  `json:"requests"`
	BytesOut int64  `json:"bytes_out"`
	BytesIn  int64  `json:"bytes_in"`
	Tokens   Tokens `json:"tokens"`
	// Cost is what the tokens cost at the prices the Meter has.
	Cost Money `json:"cost_microusd"`
	// Unpriced counts answers that had tokens and no price: Cost lacks them.
	Unpriced int64 `json:"unpriced,omitempty"`
	// Silent counts answers of models that told no tokens.
	Silent int64 `json:"silent,omitempty"`
}

// Add adds o to t.
func (t *Totals) Add(o Totals) {
	t.Requests = plus(t.Requests, o.Requests)
	t.BytesOut = plus(t.BytesOut, o.BytesOut)
	t.BytesIn = plus(t.BytesIn, o.BytesIn)
	t.Tokens.add(o.Tokens)
	t.Cost = Money(plus(int64(t.Cost), int64(o.Cost)))
	t.Unpriced = plus(t.Unpriced, o.Unpriced)
	t.Silent = plus(t.Silent, o.Silent)
}

// Row is what a Meter counted for one model at one host.
type Row struct {
	Host  string `json:"host,omitempty"`
	Model string `json:"model,omitempty"` // empty for requests that no model answered
	Totals
}

type place struct{ host, model string }

// Meter adds up samples by host and model. It is safe for concurrent use.
type Meter struct {
	prices *Prices

	mu     sync.Mutex
	rows   map[place]*Totals
	hosts  map[string]bool
	models map[string]*Price // nil for a model that has none
}

// NewMeter returns an empty Meter that prices by prices.
func NewMeter(prices *Prices) *Meter {
	return &Meter{prices: prices, rows: map[place]*Totals{}, hosts: map[string]bool{}, models: map[string]*Price{}}
}

// Add counts s.
func (m *Meter) Add(s Sample) {
	add := Totals{Requests: s.Requests, BytesOut: s.BytesOut, BytesIn: s.BytesIn, Tokens: s.Usage.Tokens}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := place{s.Host, s.Usage.Model}
	if !m.hosts[at.host] {
		if len(m.hosts) < maxHosts {
			m.hosts[at.host] = true
		} else {
			at.host = Other
		}
	}
	price, known := m.models[at.model]
	if !known {
		price = m.prices.Find(at.model)
		if len(m.models) < maxModels {
			m.models[at.model] = price
		} else {
			at.model = Other
		}
	}
	switch {
	case s.Usage.Zero() && s.Usage.Model != "":
		add.Silent = 1
	case s.Usage.Zero():
	case price == nil:
		add.Unpriced = 1
	default:
		add.Cost = price.Cost(s.Usage.Tokens)
	}
	row := m.rows[at]
	if row == nil {
		row = &Totals{}
		m.rows[at] = row
	}
	row.Add(add)
}

// Snapshot returns what was counted so far, by host and then by model.
func (m *Meter) Snapshot() []Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := make([]Row, 0, len(m.rows))
	for at, t := range m.rows {
		rows = append(rows, Row{at.host, at.model, *t})
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model))
	})
	return rows
}
