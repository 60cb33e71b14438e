//! Which resource a client means (RFC 8707 §2; MCP "Canonical Server URI").

/// Whether two URLs name the same resource: scheme and host compare without case, and the scheme's own port may be left
/// out (RFC 3986 §6.2.2.1, §6.2.3). Everything else must be equal, byte for byte: another path, or one more slash, is
/// another resource.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other || matches!((canonical(one), canonical(other)), (Some(one), Some(other)) if one == other)
}

fn canonical(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = authority.to_ascii_lowercase();
    Some(format!("{scheme}://{}{rest}", authority.strip_suffix(default_port).unwrap_or(&authority)))
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn scheme_and_host_have_no_case_and_a_default_port_is_no_difference() {
        const RESOURCE: &str = "https://mcp.example/Tools/mcp?tenant=A";
        for same in [
            RESOURCE,
            "HTTPS://MCP.Example/Tools/mcp?tenant=A",
            "https://mcp.example:443/Tools/mcp?tenant=A",
            "Https://mcp.EXAMPLE:443/Tools/mcp?tenant=A",
        ] {
            assert!(is_same(RESOURCE, same) && is_same(same, RESOURCE), "{same}");
        }
        for other in [
            "http://mcp.example/Tools/mcp?tenant=A",
            "https://mcp.example:80/Tools/mcp?tenant=A",
            "https://mcp.example:4443/Tools/mcp?tenant=A",
            "https://mcp.example./Tools/mcp?tenant=A",
            "https://mcp.example/tools/mcp?tenant=A",
            "https://mcp.example/Tools/mcp/?tenant=A",
            "https://mcp.example/Tools/mcp?tenant=a",
            "https://mcp.example/Tools/mcp",
            "https://mcp.example/Tools/mcp?tenant=A#x",
            "https://mcp.example/Tools/./mcp?tenant=A",
            "https://mcp.example/Tools/%6dcp?tenant=A",
            "https://user@mcp.example/Tools/mcp?tenant=A",
            "https:mcp.example/Tools/mcp?tenant=A",
            "mcp.example/Tools/mcp?tenant=A",
            "",
        ] {
            assert!(!is_same(RESOURCE, other), "{other}");
        }
        assert!(is_same("http://[::1]:80/mcp", "http://[::1]/mcp") && !is_same("http://[::80]/mcp", "http://[::/mcp"));
        assert!(is_same("urn:a:B", "urn:a:B") && !is_same("urn:a:B", "URN:a:B"));
        assert!(!is_same("https://mcp.example", "https://mcp.example/"));
    }
}
