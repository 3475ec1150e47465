package standin

import (
	"fmt"
	"maps"
)

// openaiResponse renders turn as a finished response and its output items.
func openaiResponse(q responsesRequest, c Conversation, turn Turn, tool shell) (resp map[string]any, out []map[string]any) {
	if turn.Text != "" {
		out = append(out, map[string]any{
			"type": "message", "id": fmt.Sprintf("msg_standin_%d", c.Step), "role": "assistant", "status": "completed",
			"content": []any{map[string]any{"type": "output_text", "text": turn.Text, "annotations": []any{}}},
		})
	}
	for i, command := range turn.Commands {
		call := shellCall(tool, command)
		call["id"] = fmt.Sprintf("fc_standin_%d_%d", c.Step, i)
		call["call_id"] = fmt.Sprintf("call_standin_%d_%d", c.Step, i)
		call["status"] = "completed"
		out = append(out, call)
	}
	return map[string]any{
		"id": fmt.Sprintf("resp_standin_%d", c.Step), "object": "response", "status": "completed",
		"model": q.Model, "output": []any{}, "error": nil,
		"usage": map[string]any{
			"input_tokens": 12, "input_tokens_details": map[string]int{"cached_tokens": 0},
			"output_tokens": 8, "output_tokens_details": map[string]int{"reasoning_tokens": 0},
			"total_tokens": 20,
		},
	}, out
}

// shellCall is a call of tool that runs command, in the way the tool takes it.
func shellCall(tool shell, command string) map[string]any {
	call := map[string]any{"type": "function_call", "name": tool.name}
	if tool.group != "" {
		call["namespace"] = tool.group
	}
	switch tool.name {
	case codeMode:
		call["type"] = "custom_tool_call"
		// JSON is a subset of JavaScript.
		call["input"] = "const r = await tools.exec_command({cmd: " + jsonOf(command) + "}); text(r.output);"
	case "exec_command":
		call["arguments"] = jsonOf(map[string]any{"cmd": command})
	case "shell_command":
		call["arguments"] = jsonOf(map[string]any{"command": command})
	default:
		call["arguments"] = jsonOf(map[string]any{"command": []string{"bash", "-lc", command}})
	}
	return call
}

func streamResponse(e events, resp map[string]any, out []map[string]any) {
	seq := 0
	send := func(kind string, fields map[string]any) {
		fields["type"], fields["sequence_number"] = kind, seq
		seq++
		e.send(fields)
	}
	send("response.created", map[string]any{"response": join(join(resp, "status", "in_progress"), "output", []any{})})
	for i, it := range out {
		send("response.output_item.added", map[string]any{"output_index": i, "item": begun(it)})
		at := map[string]any{"item_id": it["id"], "output_index": i}
		switch it["type"] {
		case "message":
			streamText(send, at, it)
		case "function_call":
			send("response.function_call_arguments.delta", join(at, "delta", it["arguments"]))
			send("response.function_call_arguments.done", join(at, "arguments", it["arguments"]))
		case "custom_tool_call":
			send("response.custom_tool_call_input.delta", join(at, "delta", it["input"]))
			send("response.custom_tool_call_input.done", join(at, "input", it["input"]))
		}
		send("response.output_item.done", map[string]any{"output_index": i, "item": it})
	}
	send("response.completed", map[string]any{"response": join(resp, "output", out)})
}

// begun is it before anything of its content has come.
func begun(it map[string]any) map[string]any {
	b := join(it, "status", "in_progress")
	switch it["type"] {
	case "message":
		b["content"] = []any{}
	case "function_call":
		b["arguments"] = ""
	case "custom_tool_call":
		b["input"] = ""
	}
	return b
}

func streamText(send func(string, map[string]any), at, it map[string]any) {
	part := it["content"].([]any)[0].(map[string]any)
	at = join(at, "content_index", 0)
	send("response.content_part.added", join(at, "part", join(part, "text", "")))
	for _, p := range pieces(part["text"].(string)) {
		send("response.output_text.delta", join(at, "delta", p))
	}
	send("response.output_text.done", join(at, "text", part["text"]))
	send("response.content_part.done", join(at, "part", part))
}

// join is a copy of m with one entry set.
func join(m map[string]any, key string, value any) map[string]any {
	m = maps.Clone(m)
	m[key] = value
	return m
}
