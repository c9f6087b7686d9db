// One request of the admin API on a loop of its own.
#include "app/api_client.hpp"

#include <stdexcept>

#include "app/runtime.hpp"
#include "config/base_url.hpp"
#include "config/settings.hpp"
#include "net/http_client.hpp"
#include "net/loop.hpp"
#include "net/resolver.hpp"
#include "net/tls.hpp"

namespace kw::app {
namespace {

constexpr auto time_limit = std::chrono::seconds(60);

net::task<void> ask(net::loop& on, net::dns_cache& names, net::http_request request,
                    result<net::http_response>& out) {
    auto answer = co_await net::request(on, names, std::move(request));
    out = std::move(answer);
    on.stop();
}

// Of "https://[::1]:8080/x": "[::1]".
std::string host_of(const std::string& url) {
    const auto from = url.find("://") + 3;
    const auto end = url.find_first_of("/?", from);
    auto host = url.substr(from, end == std::string::npos ? end : end - from);
    const auto colon = host.rfind(':');
    if (colon != std::string::npos && host.find(']', colon) == std::string::npos)
        host.resize(colon);
    return host;
}

}  // namespace

api_target find_api(const std::string& file, const config::environment& env, const std::string& url,
                    const std::string& ca) {
    auto loaded = load_configuration(file, env);
    if (!loaded) {
        std::string text = "the configuration is refused:";
        for (const auto& p : loaded.error().items)
            text += "\n  " + p.to_string();
        throw std::runtime_error(text);
    }
    const auto& s = loaded->values;
    api_target out{.url = url, .ca = ca, .admin_key = s.auth.admin_key};
    if (out.admin_key.empty())
        throw std::runtime_error("the admin secret is not set: set ADMIN_ACCESS_KEY");
    if (!out.url.empty()) {
        if (!out.url.starts_with("http://") && !out.url.starts_with("https://"))
            throw std::runtime_error("--url must begin with http:// or https://");
        while (out.url.ends_with('/'))
            out.url.pop_back();
        return out;
    }
    const auto port = s.admin.port != 0 ? s.admin.port : s.server.port;
    auto host = s.admin.host.empty() ? s.server.host : s.admin.host;
    // Where it listens on all addresses it also listens on this machine's own.
    if (host.empty() || host == "0.0.0.0") host = "127.0.0.1";
    if (host == "::") host = "::1";
    if (host.find(':') != std::string::npos) host = "[" + host + "]";
    out.url = (s.server.tls_certificate.empty() ? "http://" : "https://") + host + ":" +
              std::to_string(port);
    if (out.ca.empty()) out.ca = s.server.tls_certificate;
    return out;
}

api_answer call_api(const api_target& at, std::string_view method, std::string_view path,
                    std::string body) {
    const system_clock_source clock;
    net::loop loop(clock);
    net::resolver resolver;
    net::dns_cache dns(loop, resolver);
    net::http_request r;
    r.method = method;
    r.url = at.url + std::string(path);
    r.credential = {"x-admin-key", at.admin_key};
    if (!body.empty()) r.headers.emplace_back("Content-Type", "application/json");
    r.body = std::move(body);
    r.deadline = clock.mono() + time_limit;
    r.max_response_bytes = std::size_t{64} << 20U;
    if (at.url.starts_with("https:")) {
        // The secret goes to nobody whose certificate is not known.
        auto tls = net::tls_client_context::create({.ca_file = at.ca, .verify = true});
        if (!tls) throw std::runtime_error(tls.error().context);
        r.tls = *tls;
    } else if (!config::is_loopback(host_of(at.url))) {
        throw std::runtime_error("the admin secret would travel to " + host_of(at.url) +
                                 " without TLS: use https://, or a tunnel");
    }
    result<net::http_response> answer = error(errc::internal, "no answer");
    net::spawn("api", ask(loop, dns, std::move(r), answer));
    loop.run();
    if (!answer)
        throw std::runtime_error("no answer from " + at.url + ": " + answer.error().context +
                                 " (is the server running?)");
    return {answer->status, std::move(answer->body)};
}

}  // namespace kw::app
