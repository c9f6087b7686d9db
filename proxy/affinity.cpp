// The part of an exchange about objects that only one upstream account keeps: whose they are, where
// they are, which keys may be asked therefore, and what the answer tells of new ones.
#include <algorithm>
#include <array>

#include "auth/credential.hpp"
#include "pool/health.hpp"
#include "proxy/exchange.hpp"
#include "proxy/message_heads.hpp"
#include "proxy/question.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_refs = 256;
constexpr std::size_t max_homes = 8;
constexpr auto answer_time = 5s;   // of the store, which has deadlines of its own
constexpr auto fetch_time = 30s;   // of an upstream
constexpr auto known_for = 10min;  // a worker believes what it remembers
constexpr auto missed_for = 30s;   // …and what it looked for in vain
constexpr std::size_t max_fetched = 16U << 20U;

std::string_view noun_of(std::string_view id) noexcept {
    const id_kind* kind = kind_of(id);
    if (kind == nullptr || kind->collection.size() < 3) return "object";
    return kind->collection.substr(1, kind->collection.size() - 2);
}

error no_such(std::string_view id) {
    return error(errc::object_not_found,
                 "No such " + std::string(noun_of(id)) + ": '" + std::string(id) + "'.",
                 error_source::downstream);
}

error unknown_places() {
    return error(
        errc::store_unavailable,
        "Where the objects are that this request refers to cannot be found out now because "
        "the store is out of reach; try again shortly.",
        error_source::store);
}

// The id under which the store keeps where an owner's new objects go.
std::string home_of(std::string_view owner) {
    return "home:" + std::string(owner);
}

// The id under which the store keeps a key of an account. No object's id has a slash.
std::string stand_in_of(std::string_view account) {
    return "account/" + std::string(account);
}

std::chrono::seconds seconds_of(const config::object_settings& s, object_keep keep) {
    const auto length = keep == object_keep::response ? s.response_lifetime
                        : keep == object_keep::brief  ? s.short_lifetime
                                                      : s.lifetime;
    return std::chrono::ceil<std::chrono::seconds>(length);
}

// What a 201 has made where the body does not say: a call of the realtime API.
std::string_view located(const object_route& route, const net::http_head& answer) noexcept {
    if (!route.creates || answer.status() != 201) return {};
    const std::string_view place = answer.find("location");
    return place.substr(place.rfind('/') + 1);
}

error unavailable() {
    return error(errc::upstream_key_unavailable,
                 "The upstream account that keeps what this request refers to has no key that can "
                 "be used now.",
                 error_source::upstream);
}

}  // namespace

std::string exchange::object_owner() const {
    if (!access_ || snap_.settings->objects.isolation == config::object_isolation::none) return {};
    if (snap_.settings->objects.isolation == config::object_isolation::group &&
        !access_->options->group.empty())
        return "group:" + access_->options->group;
    return access_->id;
}

bool exchange::sees(const store::object_place& place) const {
    return place.owner.empty() || place.owner == objects_->owner ||
           (access_ && place.owner == access_->id) ||
           snap_.settings->objects.isolation == config::object_isolation::none;
}

// Cheap for what is about none: of chat, a search in its body.
bool exchange::is_about_objects() {
    if (w_.shared().objects == nullptr || !snap_.accounts) return false;
    const std::string_view body = streaming_body_ ? std::string_view() : body_.text();
    const bool tuned = record_.model_asked.starts_with("ft:");
    const bool stored = endpoint_.chat_stream && fields_.store;
    if (endpoint_.chat_stream && !tuned && !stored && !may_refer(body)) return false;
    object_route route = route_objects(head_.method(), head_.path());
    // A second socket of a call of the realtime API.
    const auto calls =
        upgrade_ ? auth::query_values(head_.query(), "call_id") : std::vector<std::string>();
    if (stored && route.any) route.creates = route.learns = true;
    if (!route.any && !route.refers && !tuned && calls.empty()) return false;
    const bool state = endpoint_.family == "responses" || endpoint_.family == "videos";
    std::vector<object_ref> refs;
    if (route.refers && !body.empty() && !endpoint_.body_streams &&
        (!state || may_refer_to_state(body)) && (!endpoint_.chat_stream || may_refer(body)) &&
        body.find('{') != std::string_view::npos)
        refs = find_refs(body, max_refs);
    add_calls(calls, max_refs, refs);
    if (!route.any && refs.empty() && !tuned) return false;
    objects_ = std::make_unique<object_work>();
    objects_->route = route;
    objects_->refs = std::move(refs);
    objects_->owner = object_owner();
    if (is_object_id(route.id)) {
        object_ref own{std::string(route.id), {}, true};
        if (route.gettable) own.place = route.object.substr(route.base.size());
        objects_->refs.insert(objects_->refs.begin(), std::move(own));
    }
    if (tuned) objects_->refs.push_back({record_.model_asked, {}, false});
    return true;
}

void exchange::restrict_to(std::string_view account) {
    objects_->account = snap_.accounts->canonical(account);
    objects_->members = members_of(account);
}

std::vector<pool::account_member> exchange::members_of(std::string_view account) const {
    auto all = snap_.accounts->members(account);
    if (!all.empty()) return all;
    const auto at = std::ranges::find(objects_->stand_ins, account,
                                      &std::pair<std::string, std::string>::first);
    if (at != objects_->stand_ins.end()) all = snap_.accounts->members(at->second);
    return all;
}

// Another replica may have learned a moment ago whose a key is, and bound objects to that account;
// the key itself is known here.
net::task<result<void>> exchange::find_stand_ins(std::vector<std::string> accounts) {
    std::erase_if(accounts, [this](const std::string& a) { return !members_of(a).empty(); });
    std::ranges::sort(accounts);
    accounts.erase(std::ranges::unique(accounts).begin(), accounts.end());
    if (accounts.empty()) co_return result<void>();
    std::vector<std::string> ids;
    for (const std::string& a : accounts)
        ids.push_back(stand_in_of(a));
    auto places = co_await ask_places(ids);
    if (!places) co_return places.error();
    for (std::size_t i = 0; i < accounts.size() && i < places->size(); ++i) {
        if ((*places)[i].known)
            objects_->stand_ins.emplace_back(std::move(accounts[i]), (*places)[i].account);
        else
            w_.objects().put(std::move(ids[i]), {}, w_.loop().now() + missed_for);
    }
    co_return result<void>();
}

void exchange::add_stand_in(std::vector<store::object_binding>& all, const std::string& account,
                            const pool::upstream_key& key) {
    std::string id = stand_in_of(account);
    if (account == key.id || id.size() > store::max_object_id) return;
    const mono_time now = w_.loop().now();
    if (const auto* known = w_.objects().find(id, now); known != nullptr && known->known) return;
    w_.objects().put(id, {true, key.id, {}}, now + known_for);
    all.push_back({std::move(id),
                   key.id,
                   {},
                   seconds_of(snap_.settings->objects, object_keep::lasting),
                   false});
}

// The next of the accounts where a new object may go; at last any. False: there is none.
bool exchange::move_home() {
    if (!objects_ || objects_->pinned || objects_->account.empty()) return false;
    if (objects_->next_home < objects_->homes.size()) {
        restrict_to(objects_->homes[objects_->next_home++]);
    } else {
        objects_->account.clear();
        objects_->members.clear();
    }
    return true;
}

// What is pinned has nowhere else to go.
net::task<exchange::step> exchange::refuse_pinned() {
    error e = unavailable();
    co_return co_await refuse_object(std::move(e));
}

net::task<exchange::step> exchange::refuse_object(error e) {
    error_details details;
    // Trying again changes nothing; with the store away it may.
    details.already_retried = e.code != errc::store_unavailable;
    if (e.code == errc::store_unavailable) details.retry_after = 1s;
    const bool keep = co_await refuse(std::move(e), details);
    co_return keep ? step::done : step::close;
}

// What this worker remembers, and the store's word for the rest.
net::task<result<std::vector<store::object_place>>> exchange::ask_places(
    std::vector<std::string> ids) {
    std::vector<store::object_place> places(ids.size());
    std::vector<std::size_t> open;
    std::vector<std::string> asked;
    const mono_time now = w_.loop().now();
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (const auto* known = w_.objects().find(ids[i], now)) {
            places[i] = *known;
        } else {
            open.push_back(i);
            asked.push_back(ids[i]);
        }
    }
    if (open.empty()) co_return places;
    auto q = std::make_shared<question<place_finder::answer>>();
    w_.places().ask(std::move(asked), q);
    const bool came = co_await wait_for(q, client_.wait, now + answer_time);
    if (!came) co_return client_.gone() ? error(errc::client_closed) : unknown_places();
    if (!*q->answer) co_return unknown_places();
    auto& found = **q->answer;
    for (std::size_t i = 0; i < open.size() && i < found.size(); ++i) {
        if (found[i].known) w_.objects().put(ids[open[i]], found[i], now + known_for);
        places[open[i]] = std::move(found[i]);
    }
    co_return places;
}

net::task<exchange::step> exchange::find_account() {
    object_work& work = *objects_;
    std::vector<std::string> ids;
    ids.reserve(work.refs.size());
    for (const auto& r : work.refs)
        ids.push_back(r.id);
    if (work.route.places) ids.push_back(home_of(work.owner));
    std::vector<store::object_place> places;
    if (!ids.empty()) {
        auto asked = co_await ask_places(std::move(ids));
        if (asked) {
            places = std::move(*asked);
        } else if (asked.error().code == errc::client_closed ||
                   std::ranges::any_of(work.refs, &object_ref::firm)) {
            co_return co_await refuse_object(asked.error());
        }
    }
    if (places.size() > work.refs.size()) work.home = places.back().account;
    std::vector<std::string> named;
    for (const store::object_place& place : places)
        if (place.known) named.emplace_back(snap_.accounts->canonical(place.account));
    auto keys_known = co_await find_stand_ins(std::move(named));
    if (!keys_known) co_return co_await refuse_object(keys_known.error());
    places.resize(work.refs.size());
    const bool bound = access_ && !pick_request_now().bound_key.empty();
    const bool places_new = work.route.places && !bound &&
                            snap_.settings->objects.placement == config::object_placement::home;
    const object_ref* unknown = nullptr;
    const object_ref* first = nullptr;
    bool lost = false;  // an account is known, and no key of it
    std::string account;
    std::string hint;
    for (std::size_t i = 0; i < places.size(); ++i) {
        const object_ref& ref = work.refs[i];
        const store::object_place& place = places[i];
        if (!place.known) {
            // Known to nobody, and not looked for in vain a moment ago.
            if (ref.firm && !ref.place.empty() && unknown == nullptr &&
                w_.objects().find(ref.id, w_.loop().now()) == nullptr)
                unknown = &ref;
            continue;
        }
        if (!sees(place)) {
            if (!ref.firm) continue;
            error e = no_such(ref.id);
            co_return co_await refuse_object(std::move(e));
        }
        const std::string_view name = snap_.accounts->canonical(place.account);
        if (ref.firm && members_of(name).empty()) {
            // Its keys are gone, or it goes by another label now.
            lost = true;
            if (!ref.place.empty() && unknown == nullptr) unknown = &ref;
        } else if (!ref.firm) {
            hint = name;
        } else if (account.empty()) {
            account = name;
            first = &ref;
        } else if (account != name) {
            co_return co_await refuse_object(
                error(errc::accounts_differ,
                      "'" + first->id + "' and '" + ref.id +
                          "' are kept by different upstream accounts, which do not see one "
                          "another's objects: they cannot be used together.",
                      error_source::downstream));
        }
    }
    if (account.empty() && unknown != nullptr && snap_.settings->objects.search &&
        snap_.accounts->size() > 1) {
        const step s = co_await search_object(*unknown);
        if (s != step::again || !work.account.empty()) co_return s;
    }
    if (!account.empty()) {
        restrict_to(account);
        work.pinned = true;
    } else if (lost) {
        co_return co_await refuse_pinned();
    } else if (!hint.empty()) {
        restrict_to(hint);
    } else if (places_new) {
        if (!work.home.empty()) work.homes.push_back(snap_.accounts->canonical(work.home));
        for (const std::string_view name : snap_.accounts->order_for(work.owner, max_homes))
            work.homes.push_back(name);
        if (!work.homes.empty()) restrict_to(work.homes[work.next_home++]);
    }
    co_return step::again;
}

// Asks the accounts one after another, in the owner's order; who has it keeps the request. It is
// the asker's from now on.
net::task<exchange::step> exchange::search_object(const object_ref& ref) {
    const auto accounts =
        snap_.accounts->order_for(objects_->owner, snap_.settings->objects.max_accounts);
    const std::string target = std::string(objects_->route.base) + ref.place;
    for (const std::string_view account : accounts) {
        const fetched got = co_await fetch(account, target);
        if (client_.gone()) {
            const bool keep = co_await refuse(error(errc::client_closed));
            co_return keep ? step::done : step::close;
        }
        if (got.status < 200 || got.status >= 300) continue;
        restrict_to(account);
        objects_->pinned = true;
        const id_kind* kind = kind_of(ref.id);
        std::vector<store::object_binding> all;
        add_stand_in(all, got.account, *got.key);
        w_.objects().put(ref.id, {true, got.account, objects_->owner}, w_.loop().now() + known_for);
        all.push_back(
            {ref.id, got.account, objects_->owner,
             seconds_of(snap_.settings->objects, kind ? kind->keep : objects_->route.keep), true});
        w_.shared().objects->bind(std::move(all), [](bool) {});
        co_return step::again;
    }
    w_.objects().put(ref.id, {}, w_.loop().now() + missed_for);
    co_return step::again;
}

// A GET of our own, with the client's headers and a key of the account.
net::task<fetched> exchange::fetch(std::string_view account, const std::string& target) {
    fetched out;
    const auto members = members_of(account);
    boost::container::static_vector<pool::slot_id, 4> tried;
    while (tried.size() < 2) {
        pool::pick_request r;
        if (access_) {
            r.bound_group = access_->options->group;
            r.bound_key = (leased_ ? leased_ : access_)->options->upstream_key;
        }
        r.restricted = true;
        r.only = members;
        r.tried = {tried.data(), tried.size()};
        r.now = w_.mono();
        auto picked = w_.selector().pick(*snap_.pool, r);
        if (!picked) break;
        tried.push_back(picked->slot);
        const upstream_target* to = snap_.targets->find(picked->key);
        if (to == nullptr) continue;
        std::string head;
        append_upstream_head(head, {.from = head_,
                                    .dialect = *to->dialect,
                                    .base_path = to->base_path,
                                    .authority = to->authority,
                                    .target = target,
                                    .key = picked->key->value,
                                    .identity_encoding = true,
                                    .organization = picked->organization(),
                                    .project = picked->project(),
                                    .method = "GET"});
        pool::upstream_result result;
        for (const bool fresh : {false, true}) {
            upstream_call call(w_, client_);
            const mono_time deadline = w_.mono() + fetch_time;
            auto came = co_await call.open(*to, fresh, 0ms);
            const std::array<std::string_view, 1> pieces{head};
            if (came == upstream_call::outcome::ok) came = co_await call.send(pieces, deadline);
            if (came == upstream_call::outcome::ok)
                came = co_await call.read_head(false, deadline,
                                               pool::transport_failure::first_byte_timeout);
            if (came != upstream_call::outcome::ok) {
                if (client_.gone()) co_return out;
                result.transport = call.failure();
                if (result.transport == pool::transport_failure::stale_connection) continue;
                break;
            }
            result = {};
            const bool whole = co_await call.read_small_body(out.body, max_fetched, deadline);
            if (whole && call.head().keep_alive() && call.sent_all())
                call.keep();
            else
                call.drop();
            out.status = whole ? call.head().status() : 0;
            out.account = told_account(call.head(), *picked);
            if (out.account.empty()) out.account = snap_.accounts->of(*picked->key);
            out.key = picked->key;
            result.status = static_cast<std::uint16_t>(call.head().status());
            break;
        }
        picked->use.settle(0);
        if (out.status >= 200 && out.status < 300) co_return out;
        if (result.status >= 400) {
            const pool::error_details details = pool::read_error_body(out.body);
            result.code = details.code;
            result.type = details.type;
            result.message = details.message;
        }
        const pool::verdict v = pool::classify(result, picked->of->fault_rules, snap_.policy);
        if (picked->of->automatic) w_.shared().health.apply(picked->slot, v, w_.mono(), w_.wall());
        if (!v.retry) co_return out;
    }
    co_return out;
}

// Answers tell whose the key is. Asked of each key's first answer and of those about objects.
void exchange::note_account(const pool::picked& picked) {
    if (!snap_.accounts || !w_.shared().account_told) return;
    if (!objects_ && !w_.is_first_answer_of(picked.key)) return;
    const std::string label = told_account(call_.head(), picked);
    if (objects_) objects_->told = label;
    if (!label.empty() && snap_.accounts->of(*picked.key) != label)
        w_.shared().account_told(picked.key->id, label);
}

std::string exchange::told_account(const net::http_head& answer, const pool::picked& picked) const {
    std::string label;
    if (!pool::account_table::may_learn(*picked.key)) return label;
    const std::string_view organization = answer.find(net::header_id::openai_organization);
    const std::string_view project = answer.find(net::header_id::openai_project);
    // Keys of one organisation but different projects do not share; so both must be told.
    const auto plain = [](std::string_view text) {
        return !text.empty() && text.size() <= 80 && std::ranges::all_of(text, [](char c) {
            return c > ' ' && c < 0x7f && c != '"' && c != '\\';
        });
    };
    if (!plain(organization) || !plain(project)) return label;
    label = target_of(picked).authority;
    label.append("/").append(organization).append("/").append(project);
    return label;
}

bool exchange::learns_from_answer(const pool::picked&) const {
    const net::http_head& head = call_.head();
    if (!objects_ || !objects_->route.learns || head.status() >= 300) return false;
    return head.is_event_stream() || head.content_type().find("json") != std::string_view::npos ||
           !located(objects_->route, head).empty();
}

std::vector<store::object_binding> exchange::take_bindings(const pool::upstream_key& key) {
    const std::string account =
        objects_->told.empty() ? std::string(snap_.accounts->of(key)) : objects_->told;
    std::vector<store::object_binding> out;
    const mono_time now = w_.loop().now();
    for (auto& f : objects_->reader.take()) {
        const auto* known = w_.objects().find(f.id, now);
        if (known != nullptr && known->known &&
            (!f.made || (known->account == account && known->owner == objects_->owner)))
            continue;
        const id_kind* kind = kind_of(f.id);
        const auto keep = kind != nullptr ? kind->keep : objects_->route.keep;
        if (f.made && objects_->route.places && !objects_->pinned &&
            snap_.accounts->canonical(objects_->home) != account) {
            const std::string home = home_of(objects_->owner);
            w_.objects().put(home, {true, account, objects_->owner}, now + known_for);
            out.push_back({home, account, objects_->owner,
                           seconds_of(snap_.settings->objects, object_keep::lasting),
                           objects_->home.empty()});
        }
        // Of one that is only named we do not know whether it has been another's for long.
        if (f.made) w_.objects().put(f.id, {true, account, objects_->owner}, now + known_for);
        out.push_back({std::move(f.id), account, objects_->owner,
                       seconds_of(snap_.settings->objects, keep), !f.made});
    }
    if (!out.empty()) add_stand_in(out, account, key);
    return out;
}

// An answer that is all here is learned from before it leaves, so that whoever gets it finds its
// objects on every replica; a longer one while it passes.
net::task<void> exchange::learn_answer(const pool::picked& picked, relay_plan& plan) {
    const net::http_head& head = call_.head();
    objects_->reader.start(objects_->route.creates, objects_->route.items, head.is_event_stream(),
                           head.content_encoding());
    objects_->reader.note(located(objects_->route, head));
    read_late_work();
    const auto post = [this, key = picked.member_of->key, events = head.is_event_stream()] {
        auto all = take_bindings(*key);
        if (!all.empty()) w_.shared().objects->bind(std::move(all), [](bool) {});
        if (!events) return;
        if (auto debt = take_debt()) note_debt(std::move(*debt), [](bool) {});
    };
    const std::string_view early = call_.early_body();
    const bool here = !head.is_event_stream() &&
                      (head.body() == net::framing::length ? early.size() >= head.body_length()
                                                           : early.ends_with(net::last_chunk));
    if (!here) {
        plan.ids = &objects_->reader;
        plan.found_ids = post;
        if (!objects_->reader.has_found()) co_return;
    } else {
        net::body_framer framer(head.body(), head.body_length(), net::trailer_rule::skip);
        framer.consume(early, [this](std::string_view piece) { objects_->reader.feed(piece); });
    }
    auto all = take_bindings(*picked.key);
    auto debt = take_debt();
    if (all.empty() && !debt) co_return;
    auto q = std::make_shared<question<bool>>();
    if (!debt) {
        w_.shared().objects->bind(std::move(all), answer_to(q, w_.loop()));
    } else {
        // Both are done when the later one is.
        if (!all.empty()) w_.shared().objects->bind(std::move(all), [](bool) {});
        note_debt(std::move(*debt), answer_to(q, w_.loop()));
    }
    co_await wait_for(q, client_.wait, w_.loop().now() + answer_time);
    if (objects_->noted) objects_->unnoted = !q->answer.value_or(false);
}

}  // namespace kw::proxy
