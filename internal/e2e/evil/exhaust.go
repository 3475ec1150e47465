//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// amount is how far an exhaustion came before something stopped it.
type amount struct {
	Count  int64  `json:"count"`
	Failed int64  `json:"failed"`
	Error  string `json:"error"`
	Millis int64  `json:"ms"`
}

func number(args []string, i int) int64 {
	n, _ := strconv.ParseInt(args[i], 10, 64)
	return n
}

// forks starts processes that do nothing until it can't, or has started so many, holds them for a
// while and ends them.
func forks(args []string) (any, error) {
	var a amount
	var children []*os.Process
	defer func() {
		for _, p := range children {
			_ = p.Kill()
			_, _ = p.Wait()
		}
	}()
	for a.Count < number(args, 0) {
		p, err := os.StartProcess("/proc/self/exe", []string{"evil", "relay", "127.0.0.1:0", "60s"}, &os.ProcAttr{})
		if err != nil {
			a.Error = errno(err)
			break
		}
		children = append(children, p)
		a.Count++
	}
	time.Sleep(args2duration(args))
	return a, nil
}

// memory takes MiB after MiB and keeps them.
func memory(args []string) (any, error) {
	var a amount
	var all [][]byte
	for a.Count < number(args, 0) {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 512 {
			b[i] = 1
		}
		all = append(all, b)
		a.Count++
	}
	a.Failed = int64(len(all)) - a.Count // keeps them alive
	return a, nil
}

// fill writes so many MiB into a file.
func fill(args []string) (any, error) {
	chunk := make([]byte, 1<<20)
	return grow(args, func(f *os.File, _ int64) (int, error) { return f.Write(chunk) })
}

// span makes a file so many MiB long that holds next to nothing: a byte at the end of each.
func span(args []string) (any, error) {
	return grow(args, func(f *os.File, n int64) (int, error) { return f.WriteAt([]byte{0}, (n+1)<<20-1) })
}

// grow makes a file longer by a MiB so many times.
func grow(args []string, by func(f *os.File, n int64) (int, error)) (any, error) {
	var a amount
	f, err := os.Create(args[0])
	if err != nil {
		return nil, err
	}
	defer os.Remove(args[0])
	defer f.Close()
	for a.Count < number(args, 1) {
		if _, err := by(f, a.Count); err != nil {
			a.Error = errno(err)
			break
		}
		a.Count++
	}
	return a, nil
}

// inodes makes so many empty files in a folder.
func inodes(args []string) (any, error) {
	var a amount
	dir, err := os.MkdirTemp(args[0], "many")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for a.Count < number(args, 1) {
		f, err := os.Create(filepath.Join(dir, strconv.FormatInt(a.Count, 36)))
		if err != nil {
			a.Error = errno(err)
			break
		}
		_ = f.Close() // empty
		a.Count++
	}
	return a, nil
}

// openFiles opens so many files at once.
func openFiles(args []string) (any, error) {
	var a amount
	var all []*os.File
	for a.Count < number(args, 0) {
		f, err := os.Open("/dev/null")
		if err != nil {
			a.Error = errno(err)
			break
		}
		all = append(all, f)
		a.Count++
	}
	for _, f := range all {
		_ = f.Close() // only opened
	}
	return a, nil
}

// shout writes so many MiB of lines to standard output and error.
func shout(args []string) (any, error) {
	line := []byte("all work and no play makes an agent a dull program, \x1b]52;c;ZXZpbA==\x07and again\n")
	for n := int64(0); n < number(args, 0)<<20; n += int64(len(line)) {
		if _, err := os.Stdout.Write(line); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// burst makes so many requests to a URL through the proxy as fast as it can, from so many
// goroutines. Count are the answers that were denials, Failed all others.
func burst(args []string) (any, error) {
	var a amount
	began := time.Now()
	hc := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxyAddr}), MaxIdleConnsPerHost: 64}}
	var left atomic.Int64
	left.Store(number(args, 1))
	var denied, failed atomic.Int64
	var wg sync.WaitGroup
	for range number(args, 2) {
		wg.Go(func() {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				res, err := hc.Get(fmt.Sprintf("%s%d", args[0], n))
				if err != nil || res.StatusCode != http.StatusForbidden {
					failed.Add(1)
				} else {
					denied.Add(1)
				}
				if err == nil {
					_ = res.Body.Close() // not read
				}
			}
		})
	}
	wg.Wait()
	a.Count, a.Failed, a.Millis = denied.Load(), failed.Load(), time.Since(began).Milliseconds()
	return a, nil
}

// hammer never stops: it asks every URL given, over and over, and the other addresses ("tcp:..",
// "udp:..") too. It is there to be killed with its bottle.
func hammer(args []string) (any, error) {
	hc := &http.Client{Timeout: time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxyAddr}), MaxIdleConnsPerHost: 8}}
	for n := 0; ; n++ {
		for _, what := range args {
			if len(what) > 4 && (what[:4] == "tcp:" || what[:4] == "udp:") {
				if c, err := net.DialTimeout(what[:3], what[4:], 200*time.Millisecond); err == nil {
					_, _ = c.Write([]byte(os.Getenv("PLANTED"))) // meant to fail
					_ = c.Close()
				}
				continue
			}
			if res, err := hc.Get(what + strconv.Itoa(n)); err == nil {
				_ = res.Body.Close() // not read
			}
		}
	}
}
