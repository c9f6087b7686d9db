// The verb's options and the asking for a password.
#include "app/admin_verb.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "app/remote.hpp"
#include "core/json_writer.hpp"

namespace kw::app {
namespace {

secret ask_twice() {
    auto one = read_secret("", "Password");
    const auto two = read_secret("", "Again");
    if (!(one == two)) throw std::runtime_error("the two differ");
    return one;
}

secret read_password(const std::string& file) {
    if (file.empty() && ::isatty(STDIN_FILENO) != 0) return ask_twice();
    return read_secret(file, "Password");
}

}  // namespace

struct admin_verb::impl {
    explicit impl(const config::environment& env) : at(env) {}

    remote at;
    CLI::App* create = nullptr;
    CLI::App* list = nullptr;
    std::string name;
    std::string email;
    std::string role = "owner";
    std::string password_file;

    int make() {
        const auto password = read_password(password_file);
        std::string body;
        json_writer(body)
            .begin_object()
            .field("name", name)
            .field("email", email)
            .field("role", role)
            .field("password", password.reveal())
            .end_object();
        const auto made = at.call("POST", "/admin/admins", std::move(body));
        if (!at.json())
            std::cout << "made " << text_of(made, "name") << " (" << text_of(made, "role")
                      << "), id " << text_of(made, "id") << '\n';
        return 0;
    }

    int show() {
        const auto all = at.call("GET", "/admin/admins?limit=1000");
        const auto* admins = all.if_contains("admins");
        if (at.json() || admins == nullptr || !admins->is_array()) return 0;
        print_table(
            admins->get_array(),
            {{"NAME", "name"}, {"ROLE", "role"}, {"DISABLED", "disabled"}, {"E-MAIL", "email"}});
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
    m.at.options(*m.create);
    m.at.options(*m.list);
}

admin_verb::~admin_verb() = default;

int admin_verb::run() {
    if (*impl_->create) return impl_->make();
    if (*impl_->list) return impl_->show();
    return -1;
}

}  // namespace kw::app
