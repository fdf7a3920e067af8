// franz-go with its defaults: the idempotent producer and the newest protocol versions.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const schema = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"},{"name":"customer","type":"string"}]}`

func main() {
	word, args := os.Args[1], os.Args[2:]
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var err error
	switch word {
	case "roundtrip":
		err = roundtrip(ctx, args[0], args[1])
	case "group":
		err = group(ctx, args[0])
	case "reject":
		err = reject(ctx, args[0], args[1], args[2])
	case "registry":
		err = registry(ctx, args[1])
	case "produce":
		err = produce(ctx, args[0], args[1], args[2])
	case "consume":
		err = consume(ctx, args[0], args[1], args[2])
	case "administer":
		err = administer(ctx, args[0])
	case "transact":
		err = transact(ctx, args[0])
	case "transfer":
		err = transfer(ctx, args[0], args[1], args[2], args[3])
	default:
		err = fmt.Errorf("unknown word %q", word)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok", word)
}

func client(bootstrap string, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.AllowAutoTopicCreation()}, options...)...)
}

func register(registry, subject string) (uint32, error) {
	body, _ := json.Marshal(map[string]string{"schema": schema})
	response, err := http.Post(registry+"/subjects/"+subject+"/versions", "application/vnd.schemaregistry.v1+json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		ID uint32 `json:"id"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.ID == 0 {
		return 0, fmt.Errorf("no id: HTTP %d", response.StatusCode)
	}
	return answer.ID, nil
}

func order(schemaID uint32, id int, customer string) []byte {
	value := binary.BigEndian.AppendUint32([]byte{0}, schemaID)
	value = append(value, byte(id<<1), byte(len(customer)<<1))
	return append(value, customer...)
}

func consumeAll(ctx context.Context, bootstrap, topic string, count int) ([][]byte, error) {
	consumer, err := client(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var values [][]byte
	for len(values) < count {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %d of %d records", topic, len(values), count)
		}
		for _, failed := range fetches.Errors() {
			return nil, failed.Err
		}
		fetches.EachRecord(func(record *kgo.Record) { values = append(values, record.Value) })
	}
	if len(values) != count {
		return nil, fmt.Errorf("%s: %d records, wanted %d", topic, len(values), count)
	}
	return values, nil
}

func roundtrip(ctx context.Context, bootstrap, registry string) error {
	topic := "go-avro"
	schemaID, err := register(registry, topic+"-value")
	if err != nil {
		return err
	}
	count := 0
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for _, codec := range codecs {
		producer, err := client(bootstrap, kgo.ProducerBatchCompression(codec))
		if err != nil {
			return err
		}
		for number := range 20 {
			producer.Produce(ctx, &kgo.Record{Topic: topic, Value: order(schemaID, number, "ada")}, func(_ *kgo.Record, failed error) {
				if failed != nil {
					err = failed
				}
			})
			count++
		}
		if flushed := producer.Flush(ctx); flushed != nil {
			return flushed
		}
		producer.Close()
		if err != nil {
			return err
		}
	}
	values, err := consumeAll(ctx, bootstrap, topic, count)
	if err != nil {
		return err
	}
	for _, value := range values {
		if !bytes.Equal(value, order(schemaID, int(value[5]>>1), "ada")) {
			return fmt.Errorf("value changed: %x", value)
		}
	}
	fmt.Printf("avro %d records, %d compressions\n", count, len(codecs))
	return nil
}

func group(ctx context.Context, bootstrap string) error {
	topic := "go-group"
	admin, err := client(bootstrap)
	if err != nil {
		return err
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).CreateTopic(ctx, 4, 1, nil, topic); err != nil {
		return err
	}
	var lock sync.Mutex
	var seen []string
	type member struct {
		client *kgo.Client
		owned  map[int32]bool
		stop   context.CancelFunc
		done   chan struct{}
	}
	join := func() (*member, error) {
		m := &member{owned: map[int32]bool{}, done: make(chan struct{})}
		own := func(value bool) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				lock.Lock()
				defer lock.Unlock()
				for _, partition := range partitions[topic] {
					if value {
						m.owned[partition] = true
					} else {
						delete(m.owned, partition)
					}
				}
			}
		}
		var err error
		m.client, err = client(bootstrap, kgo.ConsumerGroup("go-group"), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
			kgo.HeartbeatInterval(300*time.Millisecond), kgo.SessionTimeout(10*time.Second),
			kgo.OnPartitionsAssigned(own(true)), kgo.OnPartitionsRevoked(own(false)), kgo.OnPartitionsLost(own(false)))
		if err != nil {
			return nil, err
		}
		polling, stop := context.WithCancel(ctx)
		m.stop = stop
		go func() {
			defer close(m.done)
			for polling.Err() == nil {
				fetches := m.client.PollFetches(polling)
				fetches.EachRecord(func(record *kgo.Record) {
					lock.Lock()
					seen = append(seen, string(record.Value))
					lock.Unlock()
				})
				if !fetches.Empty() {
					if err := m.client.CommitUncommittedOffsets(polling); err != nil && polling.Err() == nil {
						fmt.Fprintln(os.Stderr, "commit:", err)
					}
				}
			}
		}()
		return m, nil
	}
	until := func(what string, condition func() bool) error {
		deadline := time.Now().Add(40 * time.Second)
		for {
			lock.Lock()
			holds := condition()
			state := fmt.Sprint(seen)
			lock.Unlock()
			if holds {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s: seen %s", what, state)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	first, err := join()
	if err != nil {
		return err
	}
	second, err := join()
	if err != nil {
		return err
	}
	if err := until("two members never shared four partitions", func() bool { return len(first.owned) == 2 && len(second.owned) == 2 }); err != nil {
		return err
	}
	producer, err := client(bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer producer.Close()
	round := func(letter string) error {
		var records []*kgo.Record
		for partition := range int32(4) {
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(letter + strconv.Itoa(int(partition)))})
		}
		return producer.ProduceSync(ctx, records...).FirstErr()
	}
	if err := round("v"); err != nil {
		return err
	}
	if err := until("records did not arrive", func() bool { return len(seen) == 4 }); err != nil {
		return err
	}
	second.stop()
	<-second.done
	if err := second.client.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	second.client.Close()
	if err := until("the member that stayed did not take over", func() bool { return len(first.owned) == 4 }); err != nil {
		return err
	}
	if err := round("w"); err != nil {
		return err
	}
	if err := until("records after the rebalance did not arrive", func() bool { return len(seen) >= 8 }); err != nil {
		return err
	}
	unique := map[string]bool{}
	for _, value := range seen {
		unique[value] = true
	}
	if len(unique) != 8 || len(seen) != 8 {
		return fmt.Errorf("delivered again after a commit: %v", seen)
	}
	first.stop()
	<-first.done
	first.client.Close()
	return nil
}

func reject(ctx context.Context, bootstrap, registry, topic string) error {
	schemaID, err := register(registry, topic+"-value")
	if err != nil {
		return err
	}
	producer, err := client(bootstrap)
	if err != nil {
		return err
	}
	defer producer.Close()
	send := func(value []byte) error {
		return producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: value}).FirstErr()
	}
	good := order(schemaID, 1, "ada")
	bad := append(binary.BigEndian.AppendUint32([]byte{0}, schemaID), "garbage"...)
	if err := send(good); err != nil {
		return err
	}
	if err := send(bad); !errors.Is(err, kerr.InvalidRecord) {
		return fmt.Errorf("the bad record ended in %v", err)
	}
	for range 2 {
		if err := send(good); err != nil {
			return fmt.Errorf("the producer did not go on: %w", err)
		}
	}
	_, err = consumeAll(ctx, bootstrap, topic, 3)
	return err
}

func produce(ctx context.Context, bootstrap, topic, text string) error {
	count, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	producer, err := client(bootstrap)
	if err != nil {
		return err
	}
	for number := range count {
		value := fmt.Sprintf("go-%d", number)
		producer.Produce(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}, func(_ *kgo.Record, failed error) {
			if failed == nil {
				fmt.Println("acked", value)
			}
		})
		if number%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return producer.Flush(ctx)
}

func consume(ctx context.Context, bootstrap, topic, text string) error {
	count, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	values, err := consumeAll(ctx, bootstrap, topic, count)
	for _, value := range values {
		fmt.Printf("value %s\n", value)
	}
	return err
}

// Every third transaction is aborted; a read-committed consumer sees the others.
func transact(ctx context.Context, bootstrap string) error {
	topic := "go-transact"
	producer, err := client(bootstrap, kgo.TransactionalID(topic))
	if err != nil {
		return err
	}
	defer producer.Close()
	committed := map[string]bool{}
	for number := range 12 {
		if err := producer.BeginTransaction(); err != nil {
			return err
		}
		var values []string
		var records []*kgo.Record
		for at := range 6 {
			value := fmt.Sprintf("%d-%d", number, at)
			values = append(values, value)
			records = append(records, &kgo.Record{Topic: topic, Value: []byte(value)})
		}
		if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		commit := number%3 != 2
		if err := producer.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			return err
		}
		if commit {
			for _, value := range values {
				committed[value] = true
			}
		}
	}
	consumer, err := client(bootstrap, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer consumer.Close()
	reading, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	seen := map[string]int{}
	for len(seen) < len(committed) {
		fetches := consumer.PollFetches(reading)
		if reading.Err() != nil {
			return fmt.Errorf("%d of %d records", len(seen), len(committed))
		}
		fetches.EachRecord(func(record *kgo.Record) { seen[string(record.Value)]++ })
	}
	for value, count := range seen {
		if count != 1 || !committed[value] {
			return fmt.Errorf("%s was read %d times", value, count)
		}
	}
	return nil
}

// Consume, transform, produce with a group: each record of the source once in the target, whatever happens.
func transfer(ctx context.Context, bootstrap, source, target, text string) error {
	count, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.AllowAutoTopicCreation(),
		kgo.TransactionalID("transfer-"+target), kgo.TransactionTimeout(time.Minute), kgo.ConsumerGroup("transfer-"+target),
		kgo.ConsumeTopics(source), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(10*time.Second))
	if err != nil {
		return err
	}
	position := int64(0)
	for round := 1; position < int64(count); round++ {
		fetches := session.PollRecords(ctx, 7)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		failed := kgo.AbortingFirstErrPromise(session.Client())
		after := int64(0)
		fetches.EachRecord(func(record *kgo.Record) {
			after = record.Offset + 1
			session.Produce(ctx, &kgo.Record{Topic: target, Value: append([]byte("moved "), record.Value...)}, failed.Promise())
		})
		wanted := failed.Err() == nil && round%5 != 0
		committed, err := session.End(ctx, kgo.TransactionEndTry(wanted))
		if err != nil {
			return err
		}
		if committed {
			position = after
			fmt.Println("committed", position)
		}
	}
	return nil
}
