// What several of these scripts need.
import { chromium } from "playwright-core";

/** Chromium without a screen and without talking to its maker; CHROMIUM names another than /usr/bin/chromium. */
export const launchChromium = (...more) =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
      "--disable-background-networking", "--disable-component-update", "--disable-sync", ...more],
  });

/** What a program brings along for the SDK: `asked` are the URLs that it was to open for the person. */
export class Provider {
  constructor(redirectUrl) {
    this.redirectUrl = redirectUrl;
    this.clientMetadata = { client_name: "interop", redirect_uris: [redirectUrl], grant_types: ["authorization_code", "refresh_token"], token_endpoint_auth_method: "none" };
  }
  asked = [];
  state = () => "the state";
  clientInformation = () => this.client;
  saveClientInformation = (client) => void (this.client = client);
  tokens = () => this.saved;
  saveTokens = (tokens) => void (this.saved = tokens);
  redirectToAuthorization = (address) => void this.asked.push(address);
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);
  codeVerifier = () => this.verifier;
  saveDiscoveryState = (found) => void (this.found = found);
  discoveryState = () => this.found;
}
