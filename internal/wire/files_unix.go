//go:build unix

package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Bounds of one hand-over of files.
const (
	maxFiles    = 16
	maxFileMeta = 64 << 10 // bytes of JSON
	filesHead   = 5        // uint32 length of meta, number of files
)

// SendFiles hands open files over a unix stream socket to RecvFiles, together with meta as JSON
// (at most 64 KiB) that tells which is which. It is meant to be used on a connection before a
// Session takes it over. The sender keeps its files.
func SendFiles(c *net.UnixConn, meta any, files ...*os.File) error {
	body, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("hand files over: meta: %w", err)
	}
	if len(body) > maxFileMeta || len(files) > maxFiles {
		return fmt.Errorf("hand files over: %d bytes and %d files, at most %d and %d are allowed", len(body), len(files), maxFileMeta, maxFiles)
	}
	head := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), byte(len(files)))
	if err := withFDs(files, nil, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = syscall.UnixRights(fds...)
		}
		msg := append(head, body...)
		n, _, err := c.WriteMsgUnix(msg, rights, nil)
		if err == nil && n < len(msg) {
			_, err = c.Write(msg[n:])
		}
		return err
	}); err != nil {
		return fmt.Errorf("hand files over: %w", err)
	}
	return nil
}

// withFDs calls f with the files' descriptors, keeping the files from being closed meanwhile and
// leaving their blocking mode alone, which File.Fd would not.
func withFDs(files []*os.File, fds []int, f func([]int) error) error {
	if len(files) == 0 {
		return f(fds)
	}
	rc, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = rc.Control(func(fd uintptr) { inner = withFDs(files[1:], append(fds, int(fd)), f) })
	return errors.Join(err, inner)
}

// RecvFiles takes what SendFiles sent and decodes its meta. It reads not one byte more. The files
// are closed on exec and belong to the caller; on error there are none.
func RecvFiles(c *net.UnixConn, meta any) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				_ = f.Close() // the error that made them useless is the one to tell
			}
			files, err = nil, fmt.Errorf("receive files: %w", err)
		}
	}()
	head := make([]byte, filesHead)
	// The descriptors ride on the first byte; a read that asks for the head alone gets them, and
	// leaves whatever follows in the socket.
	oob := make([]byte, syscall.CmsgSpace(maxFiles*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(head, oob)
	if err != nil {
		return nil, err
	}
	if files, err = parseFiles(oob[:oobn]); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	if flags&syscall.MSG_CTRUNC != 0 {
		return files, errors.New("more files came than are allowed, or this process may open no more")
	}
	if _, err := io.ReadFull(c, head[n:]); err != nil {
		return files, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxFileMeta {
		return files, fmt.Errorf("a description of %d bytes, at most %d are allowed", size, maxFileMeta)
	}
	if int(head[4]) != len(files) {
		return files, fmt.Errorf("%d files were announced, %d came", head[4], len(files))
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return files, err
	}
	if err := json.Unmarshal(body, meta); err != nil {
		return files, fmt.Errorf("description: %w", err)
	}
	return files, nil
}

func parseFiles(oob []byte) ([]*os.File, error) {
	msgs, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range msgs {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd) // Linux did so on receipt; elsewhere this is the earliest moment
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}
