// The verbs' options, each with the call that it makes.
#include "app/key_verbs.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <iostream>
#include <thread>
#include <vector>

#include "app/remote.hpp"
#include "core/json_writer.hpp"

namespace kw::app {
namespace {

namespace json = boost::json;

constexpr std::size_t lines_at_once = 5'000;

const json::array& rows_of(const json::object& data, std::string_view name) {
    static const json::array none;
    const auto* v = data.if_contains(name);
    return v != nullptr && v->is_array() ? v->get_array() : none;
}

std::int64_t number_of(const json::object& data, std::string_view name) {
    const auto* v = data.if_contains(name);
    return v != nullptr && v->is_int64() ? v->get_int64() : 0;
}

}  // namespace

struct key_verbs::impl {
    explicit impl(const config::environment& env) : at(env) {}

    remote at;
    std::vector<std::pair<CLI::App*, std::function<int()>>> verbs;

    // Of all verbs; each has the options that it names.
    std::string id, group, status, search, notes, alias, file, name, limits, models;
    std::string by = "access_key", span = "day", from, to, subject, page = "1", limit = "100";
    bool purge = false;
    bool only_status = false;

    CLI::App& add(CLI::App& under, const char* verb, const char* help, std::function<int()> run) {
        auto& made = *under.add_subcommand(verb, help);
        at.options(made);
        verbs.emplace_back(&made, std::move(run));
        return made;
    }
    void pages(CLI::App& verb) {
        verb.add_option("--page", page, "From 1");
        verb.add_option("--limit", limit, "Rows of a page, 1 to 1000");
    }
    void keys(CLI::App& cli);
    void access_keys(CLI::App& cli);
    void usage(CLI::App& cli);

    int say(const std::string& text) const {
        if (!at.json()) std::cout << text << '\n';
        return 0;
    }
    int table(const json::object& data, std::string_view rows,
              std::initializer_list<column> columns) const {
        if (at.json()) return 0;
        print_table(rows_of(data, rows), columns);
        if (const auto pages_there = text_of(data, "pagination.total_pages");
            pages_there != "-" && pages_there != "0" && pages_there != "1")
            std::cout << "page " << text_of(data, "pagination.page") << " of " << pages_there
                      << ", " << text_of(data, "pagination.total") << " in all\n";
        return 0;
    }
    [[nodiscard]] std::string key_path(std::string_view more = {}) const {
        return "/admin/keys/" + path_part(id) + std::string(more);
    }

    int list_keys() {
        const auto data = at.call("GET", "/admin/keys" + query({{"poolGroup", group},
                                                                {"status", status},
                                                                {"q", search},
                                                                {"page", page},
                                                                {"limit", limit}}));
        return table(data, "keys",
                     {{"ID", "id"},
                      {"ALIAS", "alias"},
                      {"KEY", "key"},
                      {"GROUP", "group"},
                      {"STATUS", "status"},
                      {"REASON", "reason"},
                      {"UNTIL", "until"},
                      {"USES", "uses"},
                      {"TOKENS", "tokens"},
                      {"NOTES", "notes"}});
    }
    int add_key() {
        const auto value = read_secret(file, "Upstream key");
        std::string body;
        json_writer w(body);
        w.begin_object().field("key", value.reveal());
        if (!group.empty()) w.field("group", group);
        if (!alias.empty()) w.field("alias", alias);
        if (!notes.empty()) w.field("notes", notes);
        w.end_object();
        const auto made = at.call("POST", "/admin/keys", std::move(body));
        return say("added " + text_of(made, "id") + " to " + text_of(made, "group"));
    }
    // In parts, so that a list of any length gets through; what was added stays if a later part
    // fails, and the same file may be given again.
    int import_keys() {
        const auto text = read_text(file);
        std::int64_t added = 0;
        std::int64_t duplicate = 0;
        std::int64_t invalid = 0;
        std::size_t before = 0;
        for (std::size_t begin = 0; begin < text.size();) {
            std::size_t end = begin;
            std::size_t lines = 0;
            while (end < text.size() && lines < lines_at_once) {
                end = std::min(text.find('\n', end), text.size() - 1) + 1;
                ++lines;
            }
            std::string body;
            json_writer w(body);
            w.begin_object().field("text", std::string_view(text).substr(begin, end - begin));
            if (!group.empty()) w.field("poolGroup", group);
            if (!notes.empty()) w.field("notes", notes);
            w.end_object();
            const auto done = at.call("POST", "/admin/keys/batch", std::move(body));
            added += number_of(done, "added");
            duplicate += number_of(done, "duplicate");
            invalid += number_of(done, "invalid");
            for (const auto& e : rows_of(done, "errors"))
                if (e.is_object())
                    std::cerr << file << ":"
                              << before + 1 +
                                     static_cast<std::size_t>(number_of(e.get_object(), "index"))
                              << ": " << text_of(e.get_object(), "reason") << '\n';
            before += lines;
            begin = end;
        }
        say(std::to_string(added) + " added, " + std::to_string(duplicate) + " known already, " +
            std::to_string(invalid) + " invalid");
        return invalid == 0 ? 0 : 1;
    }
    int test_key() {
        const auto got = at.call("POST", key_path("/test"));
        const bool good = text_of(got, "success") == "true";
        say(text_of(got, "message") + " (the key is " + text_of(got, "key_status") + ")");
        return good ? 0 : 1;
    }
    int test_all() {
        auto task = at.call("POST", "/admin/keys/test-all");
        while (text_of(task, "state") == "running") {
            if (!at.json())
                std::cerr << text_of(task, "tested") << " of " << text_of(task, "total") << '\r'
                          << std::flush;
            std::this_thread::sleep_for(std::chrono::milliseconds(500));
            task = at.call("GET", "/admin/tasks/" + path_part(text_of(task, "id")));
        }
        say(text_of(task, "tested") + " tested: " + text_of(task, "success") + " good, " +
            text_of(task, "failed") + " failed, " + text_of(task, "inconclusive") +
            " without a clear answer");
        return number_of(task, "failed") == 0 ? 0 : 1;
    }
    int rotate_master() {
        auto at_work = only_status ? at.call("GET", "/admin/master-key")
                                   : at.call("POST", "/admin/master-key/rotate");
        const auto state = [&] { return text_of(at_work, "state"); };
        while (!only_status && (state() == "asking" || state() == "resealing")) {
            if (!at.json()) {
                if (state() == "asking")
                    std::cerr << "asking all replicas\r" << std::flush;
                else
                    std::cerr << text_of(at_work, "remaining") << " of "
                              << text_of(at_work, "total") << " left to seal\r" << std::flush;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(300));
            at_work = at.call("GET", "/admin/master-key");
        }
        say("master key " + text_of(at_work, "active") + " seals " + text_of(at_work, "sealed") +
            " secrets; of another one: " + text_of(at_work, "remaining") +
            ", of none that is known: " + text_of(at_work, "unreadable"));
        if (state() != "refused") return 0;
        std::cerr << text_of(at_work, "reason") << '\n';
        return only_status ? 0 : 1;
    }
    int set_status(const char* wanted) {
        std::string body;
        json_writer(body).begin_object().field("status", wanted).end_object();
        const auto got = at.call("PATCH", key_path("/toggle"), std::move(body));
        return say(id + " is " + text_of(got, "status"));
    }
    int delete_key() {
        at.call("DELETE", key_path());
        return say("deleted " + id);
    }

    int list_access_keys() {
        const auto data = at.call(
            "GET", "/admin/access-keys" + query({{"q", search}, {"page", page}, {"limit", limit}}));
        return table(data, "access_keys",
                     {{"ID", "id"},
                      {"NAME", "name"},
                      {"KEY", "masked"},
                      {"OWNER", "owner_name"},
                      {"GROUP", "group"},
                      {"EXPIRES", "expires_at"},
                      {"DISABLED", "disabled"},
                      {"TAGS", "tags"}});
    }
    // What was given as --limits, checked before it is put into the request.
    void add_limits(json_writer& w) const {
        if (limits.empty()) return;
        boost::system::error_code failed;
        const auto v = json::parse(limits, failed);
        if (failed || !v.is_array())
            throw std::runtime_error(
                R"(--limits must be a JSON list, e.g. [{"unit":"requests","per":"60s","cap":100}])");
        w.key("limits").raw(json::serialize(v));
    }
    int create_access_key() {
        std::string body;
        json_writer w(body);
        w.begin_object().field("name", name);
        if (!group.empty()) w.field("group", group);
        if (!to.empty()) w.field("expires_at", to);
        if (!models.empty()) {
            w.key("models_allow").begin_array();
            for (std::size_t i = 0; i <= models.size();) {
                const auto comma = std::min(models.find(',', i), models.size());
                if (comma > i) w.value(std::string_view(models).substr(i, comma - i));
                i = comma + 1;
            }
            w.end_array();
        }
        add_limits(w);
        w.end_object();
        const auto made = at.call("POST", "/admin/access-keys", std::move(body));
        say(text_of(made, "key"));
        if (!at.json())
            std::cerr << "made " << text_of(made, "id") << "; its text is shown this once\n";
        return 0;
    }
    int revoke_access_key() {
        at.call("DELETE", "/admin/access-keys/" + path_part(id) + (purge ? "?purge=true" : ""));
        return say((purge ? "purged " : "revoked ") + id);
    }
    int access_key_limits() {
        const auto path = "/admin/access-keys/" + path_part(id);
        json::object got;
        if (limits.empty()) {
            got = at.call("GET", path);
        } else {
            std::string body;
            json_writer w(body);
            w.begin_object();
            add_limits(w);
            w.end_object();
            got = at.call("PUT", path, std::move(body));
        }
        return table(got, "limit_usage",
                     {{"UNIT", "unit"},
                      {"PER", "per"},
                      {"CAP", "cap"},
                      {"USED", "used"},
                      {"REMAINING", "remaining"},
                      {"RESET IN S", "reset_in_seconds"}});
    }

    int show_usage() {
        const auto data = at.call("GET", "/admin/usage" + query({{"by", by},
                                                                 {"span", span},
                                                                 {"subject", subject},
                                                                 {"from", from},
                                                                 {"to", to},
                                                                 {"page", page},
                                                                 {"limit", limit}}));
        if (at.json()) return 0;
        table(data, "usage",
              {{"WHEN", "bucket"},
               {"SUBJECT", "subject"},
               {"NAME", "name"},
               {"REQUESTS", "requests"},
               {"ERRORS", "errors"},
               {"INPUT", "tokens.input"},
               {"CACHED", "tokens.cached_read"},
               {"OUTPUT", "tokens.output"},
               {"COST USD", "cost"},
               {"RATED USD", "rated_cost"}});
        return say("in all: " + text_of(data, "totals.requests") + " requests, " +
                   text_of(data, "totals.tokens.total") + " tokens, " +
                   text_of(data, "totals.cost") + " USD (rated " +
                   text_of(data, "totals.rated_cost") + ")");
    }
};

void key_verbs::impl::keys(CLI::App& cli) {
    auto& under = *cli.add_subcommand("keys", "Upstream keys, by a running server's API");
    under.require_subcommand(1);
    auto& list = add(under, "list", "Show them", [this] { return list_keys(); });
    list.add_option("--group", group, "Only of this group");
    list.add_option("--status", status, "active, cooling, quarantined, banned or disabled");
    list.add_option("--search", search, "In id, alias, notes and account");
    pages(list);
    auto& one = add(under, "add", "Add one; its text is asked for", [this] { return add_key(); });
    one.add_option("--group", group, "Default: default");
    one.add_option("--alias", alias, "What logs and answers call it");
    one.add_option("--notes", notes, "For people");
    one.add_option("--key-file", file, "First line of this file, or - for standard input");
    auto& many = add(under, "import", "Add many, one a line", [this] { return import_keys(); });
    many.add_option("file", file, "Text file, or - for standard input")->required();
    many.add_option("--group", group, "Default: default");
    many.add_option("--notes", notes, "Of all of them");
    const auto about = [&](const char* verb, const char* help, std::function<int()> run) {
        add(under, verb, help, std::move(run)).add_option("id", id, "Of the key")->required();
    };
    about("test", "Ask its upstream whether it is good", [this] { return test_key(); });
    add(under, "test-all", "Test every key and wait for the end", [this] { return test_all(); });
    about("ban", "Serve no more with it", [this] { return set_status("banned"); });
    about("unban", "Serve with it again", [this] { return set_status("active"); });
    about("disable", "Put it aside", [this] { return set_status("disabled"); });
    about("enable", "Serve with it again", [this] { return set_status("active"); });
    about("delete", "Delete it", [this] { return delete_key(); });
    add(under, "rotate-master",
        "Seal all stored secrets with the master key that is configured now",
        [this] { return rotate_master(); })
        .add_flag("--status", only_status, "Only show how far it is");
}

void key_verbs::impl::access_keys(CLI::App& cli) {
    auto& under = *cli.add_subcommand("access-keys", "Access keys, by a running server's API");
    under.require_subcommand(1);
    auto& list = add(under, "list", "Show them", [this] { return list_access_keys(); });
    list.add_option("--search", search, "In names, owners and tags");
    pages(list);
    auto& make = add(under, "create", "Make one and show its text once",
                     [this] { return create_access_key(); });
    make.add_option("--name", name, "For people")->required();
    make.add_option("--group", group, "Bound to this group of upstream keys");
    make.add_option("--models", models, "Only these, by commas; * stands for any text");
    make.add_option("--expires-at", to, "RFC 3339 time or date");
    make.add_option("--limits", limits, "JSON list, as the API takes it");
    auto& revoke =
        add(under, "revoke", "Refuse it from now on", [this] { return revoke_access_key(); });
    revoke.add_option("id", id, "Of the access key")->required();
    revoke.add_flag("--purge", purge, "Remove its record for good");
    auto& bound = add(under, "limits", "Show what is left of its limits, or set them",
                      [this] { return access_key_limits(); });
    bound.add_option("id", id, "Of the access key")->required();
    bound.add_option("--set", limits, "JSON list, as the API takes it");
}

void key_verbs::impl::usage(CLI::App& cli) {
    auto& show = add(cli, "usage", "Requests, tokens and cost in the books",
                     [this] { return show_usage(); });
    show.add_option("--by", by, "all, access_key, upstream_key, group, model or provider");
    show.add_option("--span", span, "hour, day, month or all");
    show.add_option("--subject", subject, "Only of this id or name");
    show.add_option("--from", from, "RFC 3339 time or date");
    show.add_option("--to", to, "RFC 3339 time or date");
    pages(show);
}

key_verbs::key_verbs(CLI::App& cli, const config::environment& env) : impl_(new impl(env)) {
    impl_->keys(cli);
    impl_->access_keys(cli);
    impl_->usage(cli);
}

key_verbs::~key_verbs() = default;

int key_verbs::run() {
    for (const auto& [verb, act] : impl_->verbs)
        if (*verb) return act();
    return -1;
}

}  // namespace kw::app
