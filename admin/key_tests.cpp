// Tests of upstream keys: one key with its answer, all of them as a task.
#include "pool/key_test.hpp"

#include <boost/json.hpp>

#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

// No word of the upstream's: an error may quote the key.
std::string message_of(const pool::key_test& t) {
    switch (t.outcome) {
        case pool::probe_outcome::passed:
            return "the upstream takes the key";
        case pool::probe_outcome::failed:
            return t.status == 402 ? "the upstream wants payment before it serves the key"
                                   : "the upstream refuses the key";
        case pool::probe_outcome::inconclusive:
            break;
    }
    if (t.failure == errc::store_not_found)
        return "the key cannot be tested: it is not in the pool, or its upstream cannot be used";
    if (t.status == 0)
        return "the upstream did not answer (" + std::string(to_string(t.failure)) +
               "): the key is left as it was";
    return "the upstream's answer says nothing about the key: it is left as it was";
}

reply test_answer(const pool::key_test& t) {
    std::string data;
    json_writer w(data);
    w.begin_object().field("success", t.outcome == pool::probe_outcome::passed);
    w.field("inconclusive", t.outcome == pool::probe_outcome::inconclusive).key("status");
    t.status == 0 ? w.null() : w.value(t.status);
    w.field("message", message_of(t)).key("key_status");
    t.after ? w.value(to_string(*t.after)) : w.null();
    w.end_object();
    return answer(data);
}

std::string task_json(const pool::test_progress& p) {
    std::string data;
    json_writer w(data);
    w.begin_object()
        .field("id", p.id)
        .field("state", p.ended ? "done" : "running")
        .field("total", p.total)
        .field("tested", p.tested)
        .field("success", p.success)
        .field("failed", p.failed)
        .field("inconclusive", p.inconclusive)
        .field("banned", p.banned)
        .field("withheld", p.withheld);
    write_time(w, "started", p.started);
    write_time(w, "ended", p.ended);
    w.end_object();
    return data;
}

// Both take no fields.
result<void> empty_body(const call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    return body_fields(*body).finish();
}

}  // namespace

result<reply> test_key(call& c) {
    if (c.records.key(c.id) == nullptr) return error(errc::store_not_found);
    if (const auto ok = empty_body(c); !ok) return ok.error();
    c.later = [&tests = c.services.tests, id = c.id](std::function<void(reply)> done) {
        tests.test(
            id, [done = std::move(done)](const pool::key_test& told) { done(test_answer(told)); });
    };
    return reply();
}

result<reply> test_all_keys(call& c) {
    if (const auto ok = empty_body(c); !ok) return ok.error();
    std::vector<std::string> ids;
    for (const auto& [id, entry] : c.records.keys())
        ids.push_back(id);
    return answer(task_json(c.services.tests.test_all(std::move(ids))), {}, 202);
}

result<reply> list_tasks(call& c) {
    auto q = c.query();
    const auto state = q.choice("state", {"running", "done"}, 2);
    const auto list = read_list(q, "-started");
    if (const auto ok = q.finish(); !ok) return ok.error();
    using row = pool::test_progress;
    auto found = c.services.tests.tasks();
    std::erase_if(found, [&](const row& t) {
        return (state != 2 && t.ended.has_value() != (state == 1)) || !list.finds({t.id});
    });
    const auto shown =
        page_of(found, list, column{"id", &row::id}, column{"started", &row::started},
                column{"ended", [](const row& t) { return or_never(t.ended); }},
                column{"total", &row::total}, column{"tested", &row::tested},
                column{"failed", &row::failed});
    std::string data;
    json_writer w(data);
    w.begin_object().key("tasks").begin_array();
    for (const auto& t : shown)
        w.raw(task_json(t));
    w.end_array();
    write_pagination(w, list.at, found.size());
    w.end_object();
    return answer(data);
}

result<reply> show_task(call& c) {
    const auto found = c.services.tests.task(c.id);
    if (!found) return error(errc::store_not_found);
    return answer(task_json(*found));
}

}  // namespace kw::admin
