// The verb's options, the asking for a password, and its tables.
#include "app/admin_verb.hpp"

#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <fstream>
#include <iostream>

#include "app/api_client.hpp"
#include "core/json_writer.hpp"

namespace kw::app {
namespace {

// What is typed does not show while this lives.
class no_echo {
  public:
    no_echo() {
        known_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
        if (!known_) return;
        auto quiet = before_;
        quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    ~no_echo() {
        if (known_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    }
    no_echo(const no_echo&) = delete;
    no_echo& operator=(const no_echo&) = delete;

  private:
    termios before_{};
    bool known_ = false;
};

secret first_line(std::istream& in) {
    std::string line;
    std::getline(in, line);
    if (line.ends_with('\r')) line.pop_back();
    return secret(std::move(line));
}

secret ask_twice() {
    const no_echo quiet;
    std::cerr << "Password: " << std::flush;
    auto one = first_line(std::cin);
    std::cerr << "\nAgain: " << std::flush;
    const auto two = first_line(std::cin);
    std::cerr << '\n';
    if (!(one == two)) throw std::runtime_error("the two differ");
    return one;
}

secret read_password(const std::string& file) {
    if (file.empty() && ::isatty(STDIN_FILENO) != 0) return ask_twice();
    if (file.empty() || file == "-") return first_line(std::cin);
    std::ifstream in(file);
    if (!in.good()) throw std::runtime_error("the password's file cannot be read");
    return first_line(in);
}

std::string text_of(const boost::json::object& of, std::string_view name) {
    const auto* v = of.if_contains(name);
    const auto* s = v == nullptr ? nullptr : v->if_string();
    return s == nullptr ? std::string() : std::string(*s);
}

}  // namespace

struct admin_verb::impl {
    explicit impl(const config::environment& e) : env(e) {}

    const config::environment& env;
    CLI::App* create = nullptr;
    CLI::App* list = nullptr;
    std::string config_file;
    std::string url;
    std::string ca;
    std::string name;
    std::string email;
    std::string role = "owner";
    std::string password_file;
    bool json = false;

    void common(CLI::App& verb) {
        verb.add_option("--config", config_file, "YAML file of the server");
        verb.add_option("--url", url, "Of the running server (default: as configured)");
        verb.add_option("--ca", ca, "PEM file to verify https with");
        verb.add_flag("--json", json, "The API's answer as it is");
    }
    [[nodiscard]] api_target target() const {
        auto file = config_file;
        const auto named = env.find("KEYWHEEL_CONFIG");
        if (file.empty() && named != env.end()) file = named->second;
        if (file.empty() && std::ifstream("keywheel.yaml").good()) file = "keywheel.yaml";
        return find_api(file, env, url, ca);
    }

    // The answer's data; throws with the message of a refusal.
    [[nodiscard]] boost::json::object data(const api_answer& got) const {
        boost::system::error_code failed;
        const auto v = boost::json::parse(got.body, failed);
        const auto* o = failed ? nullptr : v.if_object();
        if (o == nullptr)
            throw std::runtime_error("status " + std::to_string(got.status) +
                                     ", and no answer of keywheel's");
        if (got.status >= 300) throw std::runtime_error(text_of(*o, "message"));
        const auto* inner = o->if_contains("data");
        return inner != nullptr && inner->is_object() ? inner->get_object() : boost::json::object();
    }

    int make() {
        const auto at = target();
        const auto password = read_password(password_file);
        std::string body;
        json_writer(body)
            .begin_object()
            .field("name", name)
            .field("email", email)
            .field("role", role)
            .field("password", password.reveal())
            .end_object();
        const auto got = call_api(at, "POST", "/admin/admins", std::move(body));
        const auto made = data(got);
        if (json)
            std::cout << got.body << '\n';
        else
            std::cout << "made " << text_of(made, "name") << " (" << text_of(made, "role")
                      << "), id " << text_of(made, "id") << '\n';
        return 0;
    }

    int show() {
        const auto got = call_api(target(), "GET", "/admin/admins?limit=1000");
        const auto all = data(got);
        if (json) {
            std::cout << got.body << '\n';
            return 0;
        }
        const auto* admins = all.if_contains("admins");
        if (admins == nullptr || !admins->is_array()) return 1;
        std::printf("%-24s %-9s %-9s %s\n", "NAME", "ROLE", "STATE", "E-MAIL");
        for (const auto& one : admins->get_array()) {
            const auto& a = one.as_object();
            std::printf(
                "%-24s %-9s %-9s %s\n", text_of(a, "name").c_str(), text_of(a, "role").c_str(),
                a.at("disabled").as_bool() ? "disabled" : "active", text_of(a, "email").c_str());
        }
        return 0;
    }
};

admin_verb::admin_verb(CLI::App& cli, const config::environment& env) : impl_(new impl(env)) {
    impl& m = *impl_;
    const auto mail = env.find("ADMIN_EMAIL");
    if (mail != env.end()) m.email = mail->second;
    auto* verb = cli.add_subcommand("admin", "Accounts of admins, by a running server's API");
    verb->require_subcommand(1);
    m.create = verb->add_subcommand("create", "Make one; needs the admin secret");
    m.create->add_option("--name", m.name, "What one logs in with")->required();
    m.create->add_option("--email", m.email, "Default: ADMIN_EMAIL");
    m.create->add_option("--role", m.role, "viewer, operator or owner");
    m.create->add_option("--password-file", m.password_file,
                         "First line of this file, or - for standard input; else it is asked for");
    m.list = verb->add_subcommand("list", "Show them");
    m.common(*m.create);
    m.common(*m.list);
}

admin_verb::~admin_verb() = default;

int admin_verb::run() {
    if (*impl_->create) return impl_->make();
    if (*impl_->list) return impl_->show();
    return -1;
}

}  // namespace kw::app
