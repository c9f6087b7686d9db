// The program: command-line verbs.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <optional>
#include <thread>

#include "app/admin_verb.hpp"
#include "app/backup_verbs.hpp"
#include "app/key_verbs.hpp"
#include "app/remote.hpp"
#include "app/runtime.hpp"
#include "app/transfer_verbs.hpp"
#include "config/describe.hpp"
#include "core/log.hpp"
#include "mock/mock_upstream.hpp"
#include "net/http_client.hpp"
#include "net/tls.hpp"
#include "net/worker_thread.hpp"

extern char** environ;

namespace {

using namespace kw;

// Signals are taken by sigwait on the main thread; all other threads inherit the blocked mask.
sigset_t block_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int s : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&set, s);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is told by errno, like a full disk
    return set;
}

int serve(const app::serve_options& options) {
    const sigset_t signals = block_signals();
    app::runtime server(options);
    server.start();
    std::cout << server.greeting() << std::flush;
    for (;;) {
        int got = 0;
        sigwait(&signals, &got);
        if (got == SIGHUP) {
            server.reload();
            continue;
        }
        break;
    }
    // A second signal ends the waiting for running exchanges.
    server.stop([&signals] {
        const timespec none{0, 0};
        const int again = sigtimedwait(&signals, nullptr, &none);
        return again == SIGINT || again == SIGTERM;
    });
    return 0;
}

int check_config(const std::string& file, const config::environment& env) {
    auto loaded = app::load_configuration(file, env);
    if (loaded) loaded = app::load_with_store(file, env, std::move(*loaded));
    if (!loaded) {
        for (const auto& p : loaded.error().items)
            std::cerr << p.to_string() << '\n';
        return 1;
    }
    for (const auto& warning : loaded->warnings)
        std::cerr << "warning: " << warning << '\n';
    std::size_t width = 0;
    const auto rows = config::describe(*loaded);
    for (const auto& r : rows)
        width = std::max(width, r.key.size());
    for (const auto& r : rows)
        std::cout << r.key << std::string(width + 2 - r.key.size(), ' ') << r.value << "  ("
                  << r.origin << ")\n";
    return 0;
}

int run_mock(const mock::mock_options& options) {
    const sigset_t signals = block_signals();
    mock::mock_upstream server(options);
    const std::uint16_t port = server.start();
    std::cout << "mock upstream on "
              << (options.self_signed || !options.tls_certificate.empty() ? "https" : "http")
              << "://" << options.host << ':' << port << "/v1\n"
              << std::flush;
    int got = 0;
    do {
        sigwait(&signals, &got);
    } while (got == SIGHUP);
    server.stop();
    return 0;
}

// Where a server of this configuration answers on this machine.
std::string health_address(const std::string& file, const config::environment& env) {
    const auto loaded = app::load_configuration(app::config_file_of(file, env), env);
    if (!loaded) throw std::runtime_error("the configuration is refused: see check-config");
    const auto& s = loaded->values.server;
    std::string host = s.host;
    if (host.empty() || host == "0.0.0.0" || host == "*") host = "127.0.0.1";
    if (host == "::") host = "::1";
    if (host.find(':') != std::string::npos) host = '[' + host + ']';
    // A port for health alone has no TLS.
    const bool tls = s.health_port == 0 && !s.tls_certificate.empty();
    return (tls ? "https://" : "http://") + host + ':' +
           std::to_string(s.health_port != 0 ? s.health_port : s.port) + "/healthz";
}

// For container health checks: no curl needed.
int healthcheck(const std::string& url, const std::string& ca_file) {
    const system_clock_source clock;
    net::loop loop(clock);
    net::resolver resolver;
    net::dns_cache dns(loop, resolver);
    net::http_request r;
    r.url = url;
    r.deadline = clock.mono() + std::chrono::seconds(5);
    if (url.starts_with("https:")) {
        auto tls =
            net::tls_client_context::create({.ca_file = ca_file, .verify = !ca_file.empty()});
        if (!tls) {
            std::cerr << tls.error().context << '\n';
            return 1;
        }
        r.tls = *tls;
    }
    int status = 1;
    const auto ask = [](net::loop& on, net::dns_cache& names, net::http_request request,
                        int& out) -> net::task<void> {
        auto answer = co_await net::request(on, names, std::move(request));
        if (answer && answer->status == 200) {
            out = 0;
        } else if (answer) {
            std::cerr << "status " << answer->status << '\n';
        } else {
            std::cerr << answer.error().context << '\n';
        }
        on.stop();
    };
    net::spawn("healthcheck", ask(loop, dns, std::move(r), status));
    loop.run();
    return status;
}

int self_signed(const std::string& hosts, const std::string& cert, const std::string& key) {
    std::vector<std::string> names;
    for (std::size_t at = 0; at <= hosts.size();) {
        const std::size_t comma = std::min(hosts.find(',', at), hosts.size());
        if (comma > at) names.push_back(hosts.substr(at, comma - at));
        at = comma + 1;
    }
    auto made = net::make_self_signed(names, 365);
    if (!made) {
        std::cerr << made.error().context << '\n';
        return 1;
    }
    std::ofstream(cert) << made->cert_pem;
    ::umask(0077);
    std::ofstream(key) << made->key_pem.reveal();
    std::cout << "wrote " << cert << " and " << key << '\n';
    return 0;
}

// None: the proxy is to be run. What read the command line goes first, its memory is of use then.
std::optional<int> run_verb(int argc, char** argv, app::serve_options& serve_opts) {
    const config::environment& env = serve_opts.env;
    CLI::App cli("keywheel: an OpenAI-compatible proxy with a pool of upstream keys");
    cli.require_subcommand(1);
    cli.footer(
        "Examples:\n"
        "  OPENAI_API_KEY=sk-a,sk-b API_ACCESS_KEY=team-key-1 keywheel serve\n"
        "  keywheel serve --config keywheel.yaml\n"
        "  keywheel check-config --config keywheel.yaml\n"
        "  keywheel admin create --name ada\n"
        "  keywheel keys import keys.txt --group openai\n"
        "  keywheel access-keys create --name team-a\n"
        "  keywheel usage --by model --span month\n"
        "  keywheel export --encrypted --out all.json\n"
        "  keywheel backup --dir /var/backups/keywheel --keep 14\n"
        "  keywheel mock-upstream --port 9000 --self-signed --ca-out ca.pem");

    auto* serve_cmd = cli.add_subcommand("serve", "Run the proxy");
    serve_cmd->add_option(
        "--config", serve_opts.config_file,
        "YAML file (default: KEYWHEEL_CONFIG, then ./keywheel.yaml if it exists)");
    serve_cmd->add_flag("--ignore-stored-settings", serve_opts.ignore_stored_settings,
                        "Start without the settings that the admin API has stored");
    serve_cmd->add_flag("--demo-if-no-keys", serve_opts.demo_if_no_keys,
                        "Without upstream keys, use a built-in mock upstream");

    std::string check_file;
    auto* check_cmd = cli.add_subcommand(
        "check-config", "Check the configuration and show each setting with its origin");
    check_cmd->add_option("--config", check_file, "YAML file");

    mock::mock_options mock_opts;
    std::int64_t pace_ms = 0;
    std::int64_t first_token_ms = 0;
    auto* mock_cmd = cli.add_subcommand(
        "mock-upstream",
        "Run an OpenAI-compatible server with made-up answers and faults on demand");
    mock_cmd->add_option("--host", mock_opts.host, "Address");
    mock_cmd->add_option("--port", mock_opts.port, "Port; 0 takes any free one");
    mock_cmd->add_option("--tls-certificate", mock_opts.tls_certificate, "PEM file");
    mock_cmd->add_option("--tls-key", mock_opts.tls_key, "PEM file");
    mock_cmd->add_flag("--self-signed", mock_opts.self_signed, "TLS with a certificate made now");
    mock_cmd->add_option("--ca-out", mock_opts.ca_out, "Where to write that certificate");
    mock_cmd->add_option("--threads", mock_opts.threads, "Threads");
    mock_cmd->add_option("--seed", mock_opts.seed, "Seed of the made-up words");
    mock_cmd->add_option("--pace", pace_ms, "Milliseconds between two events of a stream");
    mock_cmd->add_option("--first-token", first_token_ms, "Milliseconds before an answer's head");
    mock_cmd->add_option("--tokens", mock_opts.tokens, "Tokens of an answer");
    mock_cmd->add_option("--keep-entries", mock_opts.keep_entries, "Entries of the books");
    mock_cmd->add_option("--accounts", mock_opts.accounts,
                         "Accounts that see their own objects alone: keys by commas, accounts by "
                         "semicolons");
    mock_cmd->add_option("--keep-seen", mock_opts.keep_seen, "Requests kept for /__seen");

    std::string health_config;
    std::string health_url;
    std::string health_ca;
    auto* health_cmd =
        cli.add_subcommand("healthcheck", "Ask a running server for its health; exit code 0 or 1");
    health_cmd->add_option("--config", health_config, "YAML file of the server");
    health_cmd->add_option("--url", health_url, "Default: /healthz of the server as configured");
    health_cmd->add_option("--ca", health_ca, "PEM file to verify https with");

    std::string names = "localhost,127.0.0.1";
    std::string cert_file = "keywheel.crt";
    std::string key_file = "keywheel.key";
    auto* cert_cmd =
        cli.add_subcommand("self-signed", "Make a certificate for a first look at TLS");
    cert_cmd->add_option("--hosts", names, "Names and addresses, separated by commas");
    cert_cmd->add_option("--cert", cert_file, "Output file");
    cert_cmd->add_option("--key", key_file, "Output file, mode 0600");

    app::admin_verb admin(cli, env);
    app::key_verbs keys(cli, env);
    app::transfer_verbs transfer(cli, env);
    app::backup_verbs backups(cli, env);

    auto* version_cmd = cli.add_subcommand("version", "Show the version");

    CLI11_PARSE(cli, argc, argv);
    if (*serve_cmd) {
        serve_opts.config_file = app::config_file_of(serve_opts.config_file, env);
        return std::nullopt;
    }
    if (*check_cmd) return check_config(app::config_file_of(check_file, env), env);
    if (*mock_cmd) {
        mock_opts.pace = std::chrono::milliseconds(pace_ms);
        mock_opts.first_token = std::chrono::milliseconds(first_token_ms);
        return run_mock(mock_opts);
    }
    if (*health_cmd) {
        if (health_url.empty()) health_url = health_address(health_config, env);
        return healthcheck(health_url, health_ca);
    }
    if (*cert_cmd) return self_signed(names, cert_file, key_file);
    if (const int done = admin.run(); done >= 0) return done;
    if (const int done = keys.run(); done >= 0) return done;
    if (const int done = transfer.run(); done >= 0) return done;
    if (const int done = backups.run(); done >= 0) return done;
    if (*version_cmd) std::cout << "keywheel " KEYWHEEL_VERSION "\n";
    return 0;
}

}  // namespace

int main(int argc, char** argv) try {
    app::serve_options serve_opts;
    serve_opts.env = config::process_environment(environ);
    const auto done = run_verb(argc, argv, serve_opts);
    return done ? *done : serve(serve_opts);
} catch (const std::exception& e) {
    std::cerr << "keywheel: " << e.what() << '\n';
    return 1;
}
