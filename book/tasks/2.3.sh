# 2.3: a client must say its name.
initialize
json 'a client with a name is answered' 200 '.result.protocolVersion == "2025-11-25"'
rpc initialize '{"protocolVersion":"2025-11-25","capabilities":{}}'
json 'one without clientInfo is told what is missing' 200 '.error | .code == -32602 and (.message | test("clientInfo"))'
rpc initialize '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"version":"1"}}'
json 'one without a name, too' 200 '.error | .code == -32602 and (.message | test("name"))'
rpc initialize '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"","version":"1"}}'
json 'an empty name is refused' 200 '.error | .code == -32602 and (.message | test("name"))'
rpc initialize '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":"curl"}'
json 'clientInfo is an object' 200 '.error | .code == -32602 and (.message | test("clientInfo must be an object"))'
