// A list of objects over all accounts in which its owner has made some, as if they were one.
#include <algorithm>

#include "proxy/exchange.hpp"
#include "proxy/message_heads.hpp"
#include "proxy/object_pages.hpp"
#include "proxy/question.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;

constexpr auto answer_time = 5s;
constexpr unsigned max_pages = 300;  // read for one answer
constexpr auto cursor_time = 30min;

}  // namespace

bool exchange::merges_list() const {
    if (!objects_->route.lists) return false;
    return snap_.accounts->size() > 1 || !objects_->owner.empty();
}

// Where the owner has made objects; all accounts, where everybody sees everything.
net::task<result<std::vector<std::string>>> exchange::accounts_of_owner() {
    const std::size_t most = snap_.settings->objects.max_accounts;
    std::vector<std::string> names;
    if (objects_->owner.empty()) {
        for (const std::string_view name : snap_.accounts->order_for({}, most))
            names.emplace_back(name);
    } else {
        using answer = result<std::vector<std::string>>;
        auto q = std::make_shared<question<answer>>();
        w_.shared().objects->accounts_of(objects_->owner, answer_to(q, w_.loop()));
        const bool came = co_await wait_for(q, client_.wait, w_.loop().now() + answer_time);
        if (!came || !*q->answer)
            co_return error(client_.gone() ? errc::client_closed : errc::store_unavailable,
                            "Where your objects are cannot be found out now because the store is "
                            "out of reach; try again shortly.",
                            error_source::store);
        for (const std::string& name : **q->answer) {
            if (names.size() == most) break;
            names.emplace_back(snap_.accounts->canonical(name));
        }
    }
    auto keys_known = co_await find_stand_ins(names);
    if (!keys_known) co_return keys_known.error();
    std::ranges::sort(names);
    names.erase(std::ranges::unique(names).begin(), names.end());
    co_return names;
}

// Reads on in one account until there is something that the owner sees, or nothing more.
net::task<result<void>> exchange::read_ahead(list_source& from, const list_query& query,
                                             unsigned& pages) {
    const bool files = objects_->route.object.ends_with("/files");
    while (from.ahead.empty() && from.more && !from.out) {
        if (++pages > max_pages)
            co_return error(errc::overloaded, "The list is too long; ask for it with a cursor.");
        std::string target(objects_->route.object);
        target += files ? "?limit=1000" : "?limit=100";
        if (!from.fetched.empty()) target += "&after=" + from.fetched;
        if (!query.rest.empty()) target += '&' + query.rest;
        const fetched got = co_await fetch(from.account, target);
        if (client_.gone()) co_return error(errc::client_closed);
        list_page page;
        if (got.status == 200) page = read_page(got.body);
        if (!page.valid) {
            from.out = true;
            break;
        }
        from.more = page.more;
        if (page.items.empty()) break;
        from.fetched = page.items.back().id;
        if (!is_object_id(from.fetched)) from.more = false;  // nothing for a request line
        std::vector<std::string> ids;
        for (const auto& item : page.items)
            ids.push_back(item.id);
        std::vector<store::object_place> places(ids.size());
        const bool all =
            snap_.settings->objects.isolation == config::object_isolation::none || !access_;
        if (!all) {
            auto asked = co_await ask_places(std::move(ids));
            if (!asked) co_return asked.error();
            places = std::move(*asked);
        }
        for (std::size_t i = 0; i < page.items.size(); ++i)
            if (all || (places[i].known && sees(places[i])))
                from.ahead.push_back(std::move(page.items[i]));
    }
    co_return result<void>();
}

net::task<bool> exchange::serve_list() {
    auto names = co_await accounts_of_owner();
    if (!names) {
        const step s = co_await refuse_object(names.error());
        co_return s == step::done;
    }
    const list_query query = read_list_query(objects_->route.object, head_.query());
    std::vector<list_source> sources;
    for (auto& name : *names)
        sources.push_back({.account = std::move(name), .cursor = {}, .fetched = {}, .ahead = {}});

    // Where the page before has ended in each account; without it, all is walked through again.
    const std::string list =
        "list " + objects_->owner + ' ' + std::string(objects_->route.object) + '?' + query.rest;
    bool found = query.after.empty();
    if (const auto* at =
            found ? nullptr : w_.objects().find(list + ' ' + query.after, w_.loop().now())) {
        for (list_source& s : sources) {
            const auto place = at->account.find('\n' + s.account + '\t');
            if (place == std::string::npos) continue;
            const auto from = place + s.account.size() + 2;
            s.cursor = s.fetched = at->account.substr(from, at->account.find('\n', from) - from);
        }
        found = true;
    }

    std::vector<list_item> page;
    bool more = false;
    unsigned pages = 0;
    for (;;) {
        for (list_source& s : sources) {
            auto read = co_await read_ahead(s, query, pages);
            if (read) continue;
            const step ended = co_await refuse_object(read.error());
            co_return ended == step::done;
        }
        list_source* next = next_source(sources, query.ascending);
        if (next == nullptr) break;
        const bool full = page.size() == query.limit;
        if (found && full && query.before.empty()) {
            more = true;
            break;
        }
        const list_item item = take_item(sources, *next);
        if (item.id == query.before) break;
        if (!found) {
            found = item.id == query.after;
            continue;
        }
        if (full) {
            more = true;
            page.erase(page.begin());
        }
        page.push_back(item);
    }

    if (objects_->route.late != usage::late_kind::none && w_.shared().late_seen) {
        for (const list_item& item : page) {
            usage::late_reader reader(objects_->route.late);
            reader.feed(item.json);
            usage::late_state state = reader.state();
            if (state.late && state.ended) w_.shared().late_seen(std::move(state));
        }
    }

    const auto out = std::ranges::count_if(sources, &list_source::out);
    if (out > 0 && out == std::ssize(sources)) {
        const step s = co_await refuse_object(
            error(errc::upstream_key_unavailable,
                  "No upstream account that keeps objects of yours has a key that can be used now.",
                  error_source::upstream));
        co_return s == step::done;
    }
    if (more && query.before.empty()) {
        std::string cursors;
        for (const list_source& s : sources)
            cursors += '\n' + s.account + '\t' + s.cursor;
        w_.objects().put(list + ' ' + page.back().id, {true, cursors + '\n', {}},
                         w_.loop().now() + cursor_time);
    }
    co_return co_await answer_list(write_page(page, more), static_cast<std::size_t>(out));
}

net::task<bool> exchange::answer_list(std::string body, std::size_t left_out) {
    record_.attempts = std::max<std::uint16_t>(record_.attempts, 1);
    record_.status = 200;
    const bool keep = head_.keep_alive() && body_framer_.complete() && !w_.shared().draining.load();
    std::string text = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    text += own_header_lines(false, false);
    // Accounts whose keys are all out: what they have is not in the list.
    if (left_out > 0) {
        text += "x-keywheel-accounts-left-out: ";
        append_number(text, left_out);
        text += "\r\n";
    }
    text += "Content-Length: ";
    append_number(text, body.size());
    text += keep ? "\r\n\r\n" : "\r\nConnection: close\r\n\r\n";
    if (head_.method_kind() != net::method_id::head) text += body;
    record_.bytes_out = static_cast<std::int64_t>(text.size());
    finish(store::exchange_end::completed, errc::ok);
    const auto sent = co_await client_.stream->write_all(
        client_.wait, text, w_.loop().now() + snap_.settings->server.send_timeout);
    co_return keep&& sent.ok();
}

}  // namespace kw::proxy
