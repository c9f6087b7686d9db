// The thread between event loops and the board of objects.
#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "store/objects.hpp"

namespace kw::store {
namespace {

constexpr std::size_t max_waiting = 16'384;
constexpr std::size_t most_at_once = 256;
constexpr std::size_t most_ids_at_once = 4'096;

struct step {
    std::vector<std::string> ids;
    object_desk::found found;
    std::string owner;
    object_desk::listed listed;
    std::vector<object_binding> all;
    object_desk::bound bound;
    object_desk::work work;
};

error too_many() {
    return error(errc::store_unavailable, "too many questions about objects wait for the store",
                 error_source::store);
}

}  // namespace

struct object_desk::impl {
    std::unique_ptr<object_board> board;
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<step> queue;  // guarded by mutex, like `stopping`
    bool stopping = false;
    std::function<bool(const object_debt&)> keeper;
    std::thread thread;

    // A thread that is woken while its lock is held, or is at work, would be woken for nothing.
    bool push(step& s) {
        bool sleeps = false;
        {
            const std::lock_guard lock(mutex);
            if (queue.size() >= max_waiting) return false;
            sleeps = queue.empty();
            queue.push_back(std::move(s));
        }
        if (sleeps) changed.notify_one();
        return true;
    }

    void run() {
        for (;;) {
            std::deque<step> now;
            {
                std::unique_lock lock(mutex);
                changed.wait(lock, [this] { return stopping || !queue.empty(); });
                if (queue.empty()) return;
                now.swap(queue);
            }
            while (!now.empty())
                serve(now);
        }
    }

    // The steps of one kind that stand first, together.
    void serve(std::deque<step>& all) {
        std::vector<step> some;
        const auto kind = [](const step& s) {
            return s.bound ? 0 : s.found ? 1 : s.listed ? 2 : 3;
        };
        const int first = kind(all.front());
        std::size_t asked = 0;
        while (!all.empty() && kind(all.front()) == first && some.size() < most_at_once &&
               asked < most_ids_at_once) {
            asked += all.front().ids.size();
            some.push_back(std::move(all.front()));
            all.pop_front();
            if (first >= 2) break;
        }
        if (first == 0) {
            std::vector<object_binding> bindings;
            for (auto& s : some)
                std::move(s.all.begin(), s.all.end(), std::back_inserter(bindings));
            const bool done = board->bind(bindings).has_value();
            for (auto& s : some)
                s.bound(done);
        } else if (first == 1) {
            std::vector<std::string> ids;
            for (const auto& s : some)
                ids.insert(ids.end(), s.ids.begin(), s.ids.end());
            auto got = board->find(ids);
            std::size_t at = 0;
            for (auto& s : some) {
                if (!got) {
                    s.found(got.error());
                    continue;
                }
                const auto from = got->begin() + static_cast<std::ptrdiff_t>(at);
                s.found(std::vector<object_place>(
                    from, from + static_cast<std::ptrdiff_t>(s.ids.size())));
                at += s.ids.size();
            }
        } else if (first == 2) {
            some.front().listed(board->accounts_of(some.front().owner));
        } else {
            some.front().work(*board);
        }
    }
};

object_desk::object_desk(std::unique_ptr<object_board> board) : impl_(std::make_unique<impl>()) {
    impl_->board = std::move(board);
    impl_->thread = std::thread([this] { impl_->run(); });
    ::pthread_setname_np(impl_->thread.native_handle(), "kw-objects");
}

object_desk::~object_desk() {
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
    }
    impl_->changed.notify_one();
    impl_->thread.join();
}

void object_desk::find(std::vector<std::string> ids, found done) {
    step s;
    s.ids = std::move(ids);
    s.found = std::move(done);
    if (!impl_->push(s)) s.found(too_many());
}

void object_desk::accounts_of(std::string owner, listed done) {
    step s;
    s.owner = std::move(owner);
    s.listed = std::move(done);
    if (!impl_->push(s)) s.listed(too_many());
}

void object_desk::bind(std::vector<object_binding> all, bound done) {
    step s;
    s.all = std::move(all);
    s.bound = std::move(done);
    if (!impl_->push(s)) s.bound(false);
}

void object_desk::set_keeper(std::function<bool(const object_debt&)> keeper) {
    impl_->keeper = std::move(keeper);
}

void object_desk::owe(object_debt debt, std::chrono::seconds look, bound done) {
    const bool asked = ask([to = impl_.get(), debt = std::move(debt), look, done](object_board& b) {
        done(b.owe(debt, look).has_value() || (to->keeper && to->keeper(debt)));
    });
    if (!asked) done(false);
}

bool object_desk::ask(work what) {
    step s;
    s.work = std::move(what);
    return impl_->push(s);
}

}  // namespace kw::store
