// The two verbs' options, their questions and their reports.
#include "app/transfer_verbs.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cerrno>
#include <iostream>
#include <system_error>

#include "app/remote.hpp"
#include "core/json_writer.hpp"

namespace kw::app {
namespace {

namespace json = boost::json;

// For nobody else to read, whatever is in it. A file that is there is not overwritten.
void write_private(const std::string& path, std::string_view text) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        throw std::runtime_error(path + ": " + std::system_category().message(errno) +
                                 "; name another file");
    while (!text.empty()) {
        const auto n = ::write(fd, text.data(), text.size());
        if (n < 0) {
            const int code = errno;
            ::close(fd);
            ::unlink(path.c_str());
            throw std::runtime_error(path + ": " + std::system_category().message(code));
        }
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    if (::close(fd) != 0) throw std::runtime_error(path + " could not be written to its end");
}

}  // namespace

struct transfer_verbs::impl {
    explicit impl(const config::environment& env) : at(env) {}

    remote at;
    CLI::App* out = nullptr;
    CLI::App* in = nullptr;
    std::string file;
    std::string passphrase_file;
    std::string format;
    std::string group;
    bool sanitized = false;
    bool encrypted = false;
    bool decrypted = false;
    bool dry_run = false;
    bool skip = false;
    bool overwrite = false;
    bool sealed = false;

    int export_all() {
        std::string body;
        json_writer w(body);
        w.begin_object();
        w.field("mode", encrypted ? "encrypted" : decrypted ? "decrypted" : "sanitized");
        if (encrypted)
            w.field("passphrase", read_secret(passphrase_file, "Passphrase").reveal());
        else if (decrypted)
            w.field("admin_key", read_secret(passphrase_file, "Admin secret").reveal());
        w.end_object();
        const auto document = at.call("POST", "/admin/export", std::move(body));
        if (at.json()) return 0;
        const auto text = json::serialize(document) + '\n';
        if (file.empty() || file == "-") {
            std::cout << text;
        } else {
            write_private(file, text);
            std::cerr << "wrote " << file << (decrypted ? ", with every secret in clear" : "")
                      << '\n';
        }
        return 0;
    }

    int import_all() {
        const auto text = read_text(file);
        const auto where = "/admin/import" + query({{"dry_run", dry_run ? "true" : ""},
                                                    {"mode", overwrite ? "overwrite"
                                                             : skip    ? "skip"
                                                                       : ""},
                                                    {"format", format},
                                                    {"group", group}});
        json::object told;
        if (sealed || !passphrase_file.empty()) {
            boost::system::error_code failed;
            const auto document = json::parse(text, failed);
            if (failed) throw std::runtime_error(file + " is not an export: it is no JSON");
            std::string body;
            json_writer w(body);
            w.begin_object().key("document").raw(json::serialize(document));
            w.field("passphrase", read_secret(passphrase_file, "Passphrase").reveal());
            w.end_object();
            told = at.call("POST", where, std::move(body));
        } else {
            told = at.call("POST", where, text);
        }
        const bool good = text_of(told, "refused") == "0";
        if (at.json()) return good ? 0 : 1;
        if (const auto* items = told.if_contains("items");
            items != nullptr && items->is_array() && !items->get_array().empty())
            print_table(
                items->get_array(),
                {{"KIND", "kind"}, {"ID", "id"}, {"RESULT", "result"}, {"REASON", "reason"}});
        if (const auto* made = told.if_contains("access_keys");
            made != nullptr && made->is_array() && !made->get_array().empty()) {
            std::cout << "New access keys, shown this once:\n";
            print_table(made->get_array(), {{"NAME", "name"}, {"ID", "id"}, {"KEY", "key"}});
        }
        std::cout << (dry_run ? "would be: " : "") << text_of(told, "created") << " created, "
                  << text_of(told, "overwritten") << " overwritten, " << text_of(told, "unchanged")
                  << " unchanged, " << text_of(told, "skipped") << " skipped, "
                  << text_of(told, "refused") << " refused\n";
        return good ? 0 : 1;
    }
};

transfer_verbs::transfer_verbs(CLI::App& cli, const config::environment& env)
    : impl_(new impl(env)) {
    impl& m = *impl_;
    m.out = cli.add_subcommand("export", "Groups, keys and settings as one document");
    m.at.options(*m.out);
    auto* how = m.out->add_option_group("mode");
    how->add_flag("--sanitized", m.sanitized, "Without any secret (this is what is done)");
    how->add_flag("--encrypted", m.encrypted, "Sealed by a passphrase that is asked for");
    how->add_flag("--decrypted", m.decrypted, "All in clear; the admin secret is asked for again");
    how->require_option(0, 1);
    m.out->add_option("--out", m.file, "New file, mode 0600 (default: standard output)");
    m.out->add_option("--secret-file", m.passphrase_file,
                      "First line of this file instead of asking; - for standard input");

    m.in = cli.add_subcommand("import", "An export, or another gateway's configuration or keys");
    m.at.options(*m.in);
    m.in->add_option("file", m.file, "The document, or - for standard input")->required();
    m.in->add_flag("--dry-run", m.dry_run, "Show what would be done");
    auto* known = m.in->add_option_group("records that exist");
    known->add_flag("--skip", m.skip, "Leave them alone (this is what is done)");
    known->add_flag("--overwrite", m.overwrite, "Replace them");
    known->require_option(0, 1);
    m.in->add_flag("--sealed", m.sealed, "It is encrypted: ask for the passphrase");
    m.in->add_option("--secret-file", m.passphrase_file,
                     "First line of this file instead of asking; - for standard input");
    m.in->add_option("--format", m.format,
                     "keywheel, litellm, keys, key_pool or access_keys (default: guessed)");
    m.in->add_option("--group", m.group, "For keys that name none");
}

transfer_verbs::~transfer_verbs() = default;

int transfer_verbs::run() {
    if (*impl_->out) return impl_->export_all();
    if (*impl_->in) return impl_->import_all();
    return -1;
}

}  // namespace kw::app
