// Package warden has the control API of the per-bottle process: HTTP and JSON over a unix socket
// that only the operator can open. Package client is the other side.
//
//	GET  /v1/status    Status
//	GET  /v1/progress  the launch's progress.Events, one JSON object a line, from the start to its end
//	GET  /v1/audit     audit.jsonl from the line after sequence number ?from on; ?follow=1 waits for more
//	POST /v1/attach    upgrades to frames of the wire package; ?rows, ?cols, ?history=1
//	POST /v1/stop      StopRequest; answers when the stop has begun
//	POST /v1/signal    SignalRequest
//
// A client that dies, stalls or talks nonsense costs the bottle nothing: its connection is closed
// and the agent goes on.
package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/session"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// Bounds of the server.
const (
	maxBody    = 64 << 10
	maxConns   = 64
	headerTime = 5 * time.Second
	idleTime   = time.Minute
	bodyTime   = 5 * time.Second
	// farewell is how long a server that closes lets clients fetch the session's end.
	farewell = 5 * time.Second
)

// Config is what a Server serves.
type Config struct {
	// Metadata returns the bottle's current metadata.
	Metadata func() (state.Metadata, error)
	// Fill, if not nil, completes a Status: report, self-test, egress counters.
	Fill func(*Status)
	// Stop begins to end the bottle: the agent has grace to end by itself. It must not wait for
	// the end, and may be called more than once.
	Stop func(reason string, grace time.Duration)
	// Audit is the path of audit.jsonl.
	Audit string
	// Log may be nil.
	Log *slog.Logger
}

// Server is one bottle's control API.
type Server struct {
	cfg      Config
	progress Progress

	mu      sync.Mutex
	session *session.Session

	// closing is closed when Serve's ctx has ended: attached terminals are let go.
	closing chan struct{}
	// attaching counts the connections that were taken over from net/http.
	attaching sync.WaitGroup
}

// New returns a server that is to be run by Serve.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, closing: make(chan struct{})}
}

// Progress is where the launch reports to.
func (s *Server) Progress() *Progress { return &s.progress }

// SetSession gives the server the session that attach attaches to. It is called at most once.
func (s *Server) SetSession(session *session.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = session
}

func (s *Server) currentSession() *session.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// Serve answers on l until ctx ends, then lets clients fetch the end of a session that has ended,
// closes l and every connection, and returns when nothing of it runs any more. It is called once.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/progress", s.followProgress)
	mux.HandleFunc("GET /v1/audit", s.followAudit)
	mux.HandleFunc("GET /v1/screen", s.screen)
	mux.HandleFunc("POST /v1/attach", s.attach)
	mux.HandleFunc("POST /v1/stop", s.stop)
	mux.HandleFunc("POST /v1/signal", s.signal)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Errorf("this warden has no %s %s; is the program newer than the bottle?", r.Method, r.URL.Path))
	})
	// Every request's context ends with base, and with it every stream.
	base, closeStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer closeStreams()
	h := &http.Server{
		Handler:           mux,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	// One request a connection: streams set deadlines, which would outlast them.
	h.SetKeepAlivesEnabled(false)
	served := make(chan error, 1)
	go func() {
		served <- h.Serve(&ownListener{UnixListener: l, log: s.cfg.Log, slots: make(chan struct{}, maxConns)})
	}()
	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("control socket: %w", err)
		close(s.closing)
		closeStreams()
	case <-ctx.Done():
		s.bidFarewell()
		close(s.closing)
		closeStreams()
		err = s.shutDown(h)
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	}
	s.attaching.Wait()
	return err
}

// bidFarewell waits until the attached clients have the end of the session, when there is one.
func (s *Server) bidFarewell() {
	current := s.currentSession()
	if current == nil {
		return
	}
	select {
	case <-current.Done():
	default:
		return
	}
	deadline := time.After(farewell)
	for current.Attached() > 0 {
		select {
		case <-deadline:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// shutDown ends h: requests under way end by closing, and what doesn't is cut.
func (s *Server) shutDown(h *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		return h.Close()
	}
	return nil
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	m, err := s.cfg.Metadata()
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	st := Status{Metadata: m}
	if current := s.currentSession(); current != nil {
		st.Attached = current.Attached()
	}
	if s.cfg.Fill != nil {
		s.cfg.Fill(&st)
	}
	answer(w, http.StatusOK, st)
}

// maxScreenLine bounds a line of a screen that is told, in bytes.
const maxScreenLine = 1000

// screen tells what the session shows now, for who only wants a look.
func (s *Server) screen(w http.ResponseWriter, _ *http.Request) {
	current := s.currentSession()
	if current == nil {
		fail(w, http.StatusConflict, errNotStarted)
		return
	}
	lines := current.Screen()
	for i, l := range lines {
		lines[i] = inert.Text(l, maxScreenLine)
	}
	answer(w, http.StatusOK, Screen{lines})
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	var req StopRequest
	if !decode(w, r, &req) {
		return
	}
	const longest = 10 * time.Minute
	grace := min(max(time.Duration(req.GraceMillis), 0), longest/time.Millisecond) * time.Millisecond
	s.cfg.Stop(req.Reason, grace)
	w.WriteHeader(http.StatusAccepted)
}

func (s *Server) signal(w http.ResponseWriter, r *http.Request) {
	var req SignalRequest
	if !decode(w, r, &req) {
		return
	}
	current := s.currentSession()
	if current == nil {
		fail(w, http.StatusConflict, errNotStarted)
		return
	}
	if err := current.Signal(req.Signal); err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

var errNotStarted = errors.New("the agent has not started yet")

// decode reads a JSON body; on failure it has answered.
func decode(w http.ResponseWriter, r *http.Request, to any) bool {
	// A client that sends its body forever is cut off. Setting it can't fail on a plain connection.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	if errors.Is(err, io.EOF) {
		err = errors.New("the request has no body")
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
	}
	return err == nil
}

func fail(w http.ResponseWriter, code int, err error) { answer(w, code, Fault{err.Error()}) }

// answer writes v as the whole answer. A client that is gone reads no error about it.
func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}
