// The official Go SDK, stateless and with JSON responses, behind its own RequireBearerToken
// (its docs/protocol.md, "Authorization").
package main

import (
	"context"
	"crypto/rsa"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type input struct {
	Message     string `json:"message" jsonschema:"the text to send back"`
	RepeatCount *int   `json:"repeat_count,omitempty" jsonschema:"how many times, 1 to 10"`
}

type output struct {
	Text string `json:"text" jsonschema:"the message, repeated"`
}

func echo(_ context.Context, _ *mcp.CallToolRequest, in input) (*mcp.CallToolResult, output, error) {
	count := 1
	if in.RepeatCount != nil {
		count = *in.RepeatCount
	}
	if count < 1 || count > 10 {
		return nil, output{}, fmt.Errorf("repeat_count must be from 1 to 10")
	}
	text := strings.Repeat(in.Message, count)
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, output{text}, nil
}

type claims struct {
	Scope string `json:"scope"`
	jwt.RegisteredClaims
}

// verifier checks what the steps check: RS256, signature, iss, aud, exp.
func verifier(key *rsa.PublicKey) auth.TokenVerifier {
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256"}),
		jwt.WithIssuer(os.Getenv("BENCH_ISSUER")),
		jwt.WithAudience(os.Getenv("BENCH_AUDIENCE")),
		jwt.WithExpirationRequired(),
	)
	return func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		var found claims
		if _, err := parser.ParseWithClaims(token, &found, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
			return nil, fmt.Errorf("%w: %v", auth.ErrInvalidToken, err)
		}
		return &auth.TokenInfo{
			Scopes:     strings.Fields(found.Scope),
			Expiration: found.ExpiresAt.Time,
			UserID:     found.Subject,
		}, nil
	}
}

func main() {
	pem, err := os.ReadFile(os.Getenv("BENCH_PUBLIC_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	key, err := jwt.ParseRSAPublicKeyFromPEM(pem)
	if err != nil {
		log.Fatal(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "echo", Description: "Sends a message back."}, echo)
	handler := mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true},
	)
	protect := auth.RequireBearerToken(verifier(key), &auth.RequireBearerTokenOptions{Scopes: []string{"mcp:tools"}})
	http.Handle("/mcp", protect(handler))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
