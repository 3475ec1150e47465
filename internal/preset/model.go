package preset

import "github.com/claude-bottle/claude-bottle/internal/policy"

// access of a model API is one word: files, batches and everything else that stores what is sent are
// left closed.
var inference = Param{Name: "access", Text: "What may be done.", Values: []string{"inference"}, Default: "inference"}

// anthropic follows https://docs.claude.com/en/api.
var anthropic = Preset{
	Name:    "anthropic",
	Text:    "Messages, token counts and the list of models, with your key alone. Files and batches stay closed.",
	Example: "anthropic: inference",
	Params:  []Param{inference}, Word: "access", Scheme: policy.SchemeAPIKey, Token: "ANTHROPIC_API_KEY",
	rules: func(_ Args, h *hosts) {
		h.credentialed("api.anthropic.com",
			posting(exact("/v1/messages", "/v1/messages/count_tokens")...),
			getting(under("/v1/models")...))
	},
}

// openai follows https://platform.openai.com/docs/api-reference.
var openai = Preset{
	Name:    "openai",
	Text:    "Responses, chat completions, embeddings and the list of models, with your key alone. Files, batches and fine-tuning stay closed.",
	Example: "openai: inference",
	Params:  []Param{inference}, Word: "access", Scheme: policy.SchemeBearer, Token: "OPENAI_API_KEY",
	rules: func(_ Args, h *hosts) {
		h.credentialed("api.openai.com",
			posting(exact("/v1/responses", "/v1/chat/completions", "/v1/embeddings")...),
			getting(under("/v1/models")...))
	},
}
