// Go clients beside franz-go, with their defaults: Sarama and segmentio's kafka-go.
//
//	PROGRAM sarama|segmentio WORD ...
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const schema = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"},{"name":"customer","type":"string"}]}`

const patience = time.Minute

var compressions = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// library is what a client library does in each of the checks.
type library interface {
	// createTopic makes a topic with so many partitions.
	createTopic(topic string, partitions int) error
	// produce sends values with acks=all and waits for every answer; partition -1 lets the library choose.
	produce(topic, compression string, partition int, values ...[]byte) error
	// consume reads a topic of one partition from its beginning.
	consume(topic string, count int) ([][]byte, error)
	// join starts a member of a group; it calls seen for each record, after which it commits.
	join(group, topic string, seen func(partition int, value []byte)) (member, error)
}

type member interface{ leave() error }

func main() {
	name, word, args := os.Args[1], os.Args[2], os.Args[3:]
	bootstrap := args[0]
	var lib library
	switch name {
	case "sarama":
		lib = newSarama(bootstrap)
	case "segmentio":
		lib = newSegmentio(bootstrap)
	}
	var err error
	switch word {
	case "roundtrip":
		err = roundtrip(lib, args[1], name+"-avro")
	case "group":
		err = group(lib, name+"-group")
	case "reject":
		err = reject(lib, args[1], args[2])
	case "produce":
		err = produce(lib, args[1], args[2])
	case "consume":
		err = consume(lib, args[1], args[2])
	default:
		err = fmt.Errorf("unknown word %q", word)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok", word)
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
	return answer.ID, nil
}

// order is Confluent's framing and the Avro encoding of {id, customer}; both fit one varint byte here.
func order(schemaID uint32, id byte, customer string) []byte {
	value := binary.BigEndian.AppendUint32([]byte{0}, schemaID)
	value = append(value, id<<1, byte(len(customer)<<1))
	return append(value, customer...)
}

func roundtrip(lib library, registry, topic string) error {
	id, err := register(registry, topic+"-value")
	if err != nil {
		return err
	}
	for _, compression := range compressions {
		var values [][]byte
		for number := range 20 {
			values = append(values, order(id, byte(number), "ada"))
		}
		if err := lib.produce(topic, compression, -1, values...); err != nil {
			return fmt.Errorf("%s: %w", compression, err)
		}
	}
	values, err := lib.consume(topic, 100)
	if err != nil {
		return err
	}
	for at, value := range values {
		if !bytes.Equal(value, order(id, byte(at%20), "ada")) {
			return fmt.Errorf("value %d changed: %x", at, value)
		}
	}
	fmt.Println("avro 100 records, 5 compressions")
	return nil
}

// group: two members share four partitions, one leaves, the other takes all and nothing comes twice.
func group(lib library, topic string) error {
	if err := lib.createTopic(topic, 4); err != nil {
		return err
	}
	var lock sync.Mutex
	seen := map[string]int{}
	holders := [2]map[int]bool{{}, {}}
	collect := func(who int) func(int, []byte) {
		return func(partition int, value []byte) {
			lock.Lock()
			defer lock.Unlock()
			if strings.HasPrefix(string(value), "probe") {
				holders[who][partition] = true
				return
			}
			seen[string(value)]++
		}
	}
	first, err := lib.join(topic, topic, collect(0))
	if err != nil {
		return err
	}
	second, err := lib.join(topic, topic, collect(1))
	if err != nil {
		return err
	}
	// Who holds what is asked with records, since not every library tells.
	settled := func(want [2]int) error {
		deadline := time.Now().Add(patience)
		for round := 0; ; round++ {
			lock.Lock()
			holders = [2]map[int]bool{{}, {}}
			lock.Unlock()
			for partition := range 4 {
				if err := lib.produce(topic, "none", partition, []byte(fmt.Sprint("probe", round))); err != nil {
					return err
				}
			}
			for range 20 {
				time.Sleep(100 * time.Millisecond)
				lock.Lock()
				found := [2]int{len(holders[0]), len(holders[1])}
				lock.Unlock()
				if found == want {
					return nil
				}
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("the group did not settle to %v", want)
			}
		}
	}
	if err := settled([2]int{2, 2}); err != nil {
		return err
	}
	all := func(letter string, total int) error {
		for partition := range 4 {
			if err := lib.produce(topic, "none", partition, []byte(fmt.Sprint(letter, partition))); err != nil {
				return err
			}
		}
		deadline := time.Now().Add(patience)
		for {
			lock.Lock()
			found := len(seen)
			lock.Unlock()
			if found == total {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%d of %d records came", found, total)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	if err := all("v", 4); err != nil {
		return err
	}
	if err := second.leave(); err != nil {
		return err
	}
	if err := settled([2]int{4, 0}); err != nil {
		return err
	}
	if err := all("w", 8); err != nil {
		return err
	}
	if err := first.leave(); err != nil {
		return err
	}
	for value, times := range seen {
		if times != 1 {
			return fmt.Errorf("%s came %d times", value, times)
		}
	}
	return nil
}

func reject(lib library, registry, topic string) error {
	id, err := register(registry, topic+"-value")
	if err != nil {
		return err
	}
	good := order(id, 1, "ada")
	bad := append(binary.BigEndian.AppendUint32([]byte{0}, id), "garbage"...)
	if err := lib.produce(topic, "none", -1, good); err != nil {
		return err
	}
	err = lib.produce(topic, "none", -1, bad)
	if err == nil {
		return fmt.Errorf("the bad record was accepted")
	}
	fmt.Println("refused", err)
	if err := lib.produce(topic, "none", -1, good, good); err != nil {
		return err
	}
	_, err = lib.consume(topic, 3)
	return err
}

func produce(lib library, topic, count string) error {
	number, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for at := 0; at < number; at += 10 {
		var values [][]byte
		for offset := range 10 {
			values = append(values, []byte(fmt.Sprint("go-", at+offset)))
		}
		if err := lib.produce(topic, "none", -1, values...); err != nil {
			return err
		}
		for _, value := range values {
			fmt.Println("acked", string(value))
		}
	}
	return nil
}

func consume(lib library, topic, count string) error {
	number, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	values, err := lib.consume(topic, number)
	for _, value := range values {
		fmt.Println("value", string(value))
	}
	return err
}
