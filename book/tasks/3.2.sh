# 3.2: translate is described.
rpc prompts/list
json 'translate is the last prompt' 200 '[.result.prompts[].name] == ["greeting", "help", "translate"]'
json 'a text is required, a language is not' 200 '.result.prompts[] | select(.name == "translate") | [.arguments[] | [.name, .required]] == [["text", true], ["language", false]]'
